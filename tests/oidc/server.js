// A real OpenID Connect server for the scenarios: the certified `oidc-provider`
// with two clients that get tokens without a person (client_credentials).
//
//   node server.js
//
// Prints its issuer once it answers, and ends with its standard input. A line
// "CLIENT RESOURCE" of standard input has the client ask for a token for the
// resource, over HTTP as any program would, and prints the token.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

const AUDIENCES = { 'urn:comity': 'comity', 'urn:payroll': 'payroll' };

async function key() {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  return { ...(await exportJWK(privateKey)), kid: randomUUID(), use: 'sig', alg: 'RS256' };
}

function client(id) {
  return {
    client_id: id,
    client_secret: `${id}-secret`,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  };
}

async function provider(issuer) {
  return new Provider(issuer, {
    clients: [client('analyst'), client('visitor')],
    jwks: { keys: [await key()] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: 'read',
          audience: AUDIENCES[resource],
          accessTokenFormat: 'jwt',
          accessTokenTTL: 600,
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    // The client stands for a program of the organization: it is the subject.
    extraTokenClaims: (_ctx, token) => ({
      sub: token.clientId,
      groups: token.clientId === 'analyst' ? ['g-planning'] : [],
      amr: ['hwk'],
    }),
  });
}

let answer;
const server = createServer((request, response) => answer(request, response));
server.listen(0, '127.0.0.1', async () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  answer = (await provider(issuer)).callback();
  console.log(issuer);
  for await (const line of createInterface({ input: process.stdin })) {
    const [id, resource] = line.split(' ');
    const asked = await fetch(`${issuer}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${id}:${id}-secret`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'read', resource }),
    });
    console.log((await asked.json()).access_token ?? '');
  }
  process.exit(0);
});
