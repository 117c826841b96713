/** What Grantex writes and reads, in its own formats. */
export { type GrantexAuditOptions, readGrantexAudit } from './audit_read.ts'
