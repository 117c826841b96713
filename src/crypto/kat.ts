/** Known answers of the classical algorithms: our own keys, made once and used for nothing else. */
import type { KnownAnswer } from './engine.ts'

// deno-fmt-ignore
export const KNOWN_ANSWERS: Readonly<Record<string, KnownAnswer>> = {
  'Ed25519': {
    'publicKey': 'n2XFbX/kU2oRgYh09HyJ+kYiOJa1LtAIveZS1c+SBWw=',
    'privateKey': 'nDfUVJnxL7KmVioxsboDq72q/7smwn69gP9zJaFDKss=',
    'signature': 'zUf1pbB5fVBI9uIcAEZRW/S3vYBA2ImKpxkKHY01M/1nGn/OvegZunr8VC25nf11Ei0d6IqfdyjsTMHGo+WHAw=='
  },
  'ES256': {
    'publicKey': 'BA04NOgVXp+e5XZ9p42GQnz4IhLwXcWXPoREnvPqE6fWLaU/3B7UrEWUqCljsVqemTcT/yBXI1Tf0oehKUM8sZc=',
    'privateKey': 'L40vx6/oXv8jX2zKLrl6UHbAqeiS5MFdsPlPKi72raM=',
    'signature': 'y2EzXEcGnuxLpU4PcnWjCzG7xAJl+8xRLst61a2gPBQnr4bNEL4fJBDt21xn7RjstpOAq0WWcmcqaSpUSIoMog=='
  },
  'ES384': {
    'publicKey': 'BHhEjC6Wa1UcBOtH72u9zXTrOivYae8BMrNlhHenKlwd+KWLtp1TitkLIwSNJ2MYZsAK0Ld53ZZSTHTx68YXdpvYc9QMjXZatWZ9gdvHW5ZASlNrI80tKLbZnAh6o+0NIg==',
    'privateKey': 'k1nqm2mG9osVmgycSKgQoM1FBY4dS9cj65VpOoLixkCsyMkQrxavzjXfjlf7vZsQ',
    'signature': 'ysKaoU/YTG1yWsTRZ1LhYXzVMhSWIVxj2aFaqQnOoSDNAJxyY+hXVKjq5bvGoE+y97EexyoRMqS0bkOsgn5MQhaFdTDIwy72R3/i/3yWBSAS5TzlgyGmdvZdQ9o5oMWq'
  },
  'ES512': {
    'publicKey': 'BAFhtmXb/IMQ9SxfBxLIuwL2Fj/XgdYgL9y0fJT2Od8CasfkckvirUgpc0Kpm2AWZjuBd6ms2Mn6oMyp/wFMloJsIQC6K/9nGkIJBY4u40Ll5aVVliAbBFIqcSlMJ60QWL2AaEm13e36mdRhoE1cUlKqTXIXrFKYY2FmLAdf/yWfNrHZMg==',
    'privateKey': 'AfqAdQAl8t3V/W5/kPpStk5A0xlUGnDnprX6B7P/OnoHOmuN7W3LoiHiAAGQsfqgfHfBPEia5teXGcHKLl/ui8LK',
    'signature': 'AEWlH9ezpQTyxruKQMiU0jE8quWKLq7fHeGn/XW+DDeMosDDM2AROQolSUlCZq7Qquj3rdmLTHGuayFSIagMbE3LAbLgUAVoXTtdKzvsMtUxPiVx5RFQZ/WtdyggA8WJ1fDk83rLaKckFszFnLUJuBefHhQfIrZb1Uyu04Qd6fLclg94'
  },
  'RS256': {
    'publicKey': 'MIIBCgKCAQEArcKJhQU84Qdv906a1y6a5GaTEG0sZj13KF3Yi0FYrvBH7KeK/HXePeVEIrisY5LmFP0pRdgzvjZp+QcxPDoSouiqM7Gn8tXld3vbXThBBwKvjXkagqbG/yxaTtS5FtE9QcnHZdw3NCnNF7Ec1zZb5zPQmd7m24Oqz0+VFPFUpxRsEjAV5QS96Q+m96q6fNe85CisPUHOcrVOAEvFJTB0t5XPjN7BI7uA3pNccPuEBNBciVA1on357a1lXMcVDphrPmLVrA6SUt2Q9F8G2AJQBd+LgGjIsKT4RQrKiCLPj8UI7KMtPNXtIr5Wg7P3r7bgYMQgR782ZitvtMV6uR63sQIDAQAB',
    'signature': 'kkbKIMdXASoOIjKKSKXnoEouFCrHvcKE3tQRrEY90T9o8GHNXCPhzyOISS+N8KbBUjWdxKkU0fX4dG4R58K4P+d39slqisQ5v8SwtfEEp5bNqv5UpgwJBlQf/9Flt2zr+dQq5s97j5dsslUpPA3pM/Lm0xaE5dDXTDxjRRMJtECsyaXZ+T0s/7t3f+FLamopIatgXkwZz56ZvXaJaGYYTyaB6BgaQIR+wONczyJ5DbryrDpZsrrQ/puMiz6ja8ZUs0vnRhJOlKJUQeYmmmq826Xu4unflHvEUjBONcAuClnq8OkF9d/kvqu5Q2ExkQAaJnmnIgu1t2lGfTbCkmUQwg=='
  },
  'PS256': {
    'publicKey': 'MIIBCgKCAQEArpJAMZL7g1wSC732uq9QZ5/I09zbEixtpYWzgsjN9nuO+uNYi2z5ZhUgViK4jjKQ41o2KMpvaialRZW1+XhMEm0eNdqqusVr10LWpwMNTZoM66IPs9wiUrugWzoV69nOvK8JOKwXBtBWCijniptNXEcj/WGIaQUUgXgRejjAx3vPA0tmehBYBru7PH0GgYzFmByqsUsPKV1AJBqkBoKPnpx6ETdoq2hzBmtR9gGwQ94q/gbCN6f6eq0DEc3NUpm0wFolWPU2EOZdw2KUKoUpnsvfr0YnYdmThs5M2i02Uhn3dUrQQ1vIsDdqSculZDcHSYUWNKih5Recgi0oyCwl/wIDAQAB',
    'signature': 'FHRp4R9kbDz/ZYrPKgaVoLmsKCDcOkPJaJTSbOIOEZ5SLzH3t1S6Qx3oBB8QMZQ7wo9fPfghiAiYmQQUZdX1uaGStdNnasiyhUYv6pehpf9Mpl8jPCqIhw4cawaHAncXRx4DDbX8xuRFdYAU1r32kJENmggocM6wg+Zu1E5AyVrUAUfguKJUJKioK1JXZO4ffzQBvNC6WGKtp7IJDVV8MG9GPVBKRkC3IRgxkbAgbAuQ16SiDtwCyIVkmtA+ZqlvJDDQHGHQGKSJAN7fcX1dQY8H6TOFeMD/WAiANemhPIBEjrhR5yZtDjjyLCrKFsYFnVihEoPyo17ABluz8gdulA=='
  }
}
