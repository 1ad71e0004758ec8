// An OAuth 2 issuer of client credentials tokens: JWTs of RFC 9068 for one resource (RFC 8707).
// Takes its settings as JSON on standard input, and says "listening" once it does.

import { readFileSync } from 'node:fs';

import Provider from 'oidc-provider';

const settings = JSON.parse(readFileSync(0, 'utf8'));

const provider = new Provider(settings.issuer, {
  jwks: { keys: settings.keys },
  enabledJWA: { idTokenSigningAlgValues: settings.algorithms },
  clientDefaults: { id_token_signed_response_alg: settings.algorithms[0] },
  clients: settings.clients.map(([id, secret]) => ({
    client_id: id,
    client_secret: secret,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  })),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => settings.audience,
      getResourceServerInfo: () => ({
        scope: settings.scope,
        audience: settings.audience,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 3600,
        jwt: { sign: { alg: settings.algorithms[0] } },
      }),
    },
  },
});

provider.listen(settings.port, '127.0.0.1', () => console.log('listening'));
