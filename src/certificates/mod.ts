/** The certificates room: X.509 read strictly, and certification paths after RFC 5280. */
export {
  type Certificate,
  certificateLabel,
  parseCertificate,
  readCertificates,
} from './certificate.ts'
export {
  type AuthorityKeyId,
  type Extensions,
  KEY_USAGES,
  type KeyUsage,
  type NameConstraints,
  PURPOSE,
} from './extensions.ts'
export {
  type DistinguishedName,
  type GeneralName,
  type GeneralNameKind,
  generalNameText,
  type NameAttribute,
  nameText,
} from './names.ts'
export { certificatePath, MAX_CHAIN, type PathOptions } from './path.ts'
