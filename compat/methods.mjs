// Every public method of the clients, and the file whose tests call it; or
// why none does yet. coverage.test.mjs keeps the list complete.

// Features that come later. Until then the server says in words a client
// understands that they are not to be had: supabase-wire.test.mjs.
const factors = 'later step: second factors';
const passkeys = 'later step: passkeys';
const oauth = 'later step: the OAuth server';
const inside = (method) => `inside: ${method} calls it`;

const every = (names, where) => Object.fromEntries(names.split(' ').map((name) => [name, where]));

const sb = (name) => `supabase${name && `-${name}`}.test.mjs`;

export const supabase = {
  client: {
    ...every('signUp signInWithPassword verifyOtp updateUser', sb('')),
    ...every('setSession getUser', sb('')),
    ...every('getSession refreshSession getClaims signOut onAuthStateChange', sb('session')),
    ...every('initialize isThrowOnErrorEnabled startAutoRefresh stopAutoRefresh dispose', sb('session')),
    ...every('signInWithOtp resend resetPasswordForEmail', sb('mail')),
    reauthenticate: sb('password'),
    exchangeCodeForSession: sb('pkce'),
    ...every('signInAnonymously getUserIdentities unlinkIdentity', sb('identity')),
    ...every('signInWithOAuth linkIdentity', sb('oauth')),
    ...every('linkIdentityOAuth linkIdentityIdToken', inside('linkIdentity')),
    fetchJwk: inside('getClaims'),
    ...every('signInWithIdToken signInWithWeb3', sb('token')),
    signInWithSSO: sb('sso'),
    ...every('signInWithEthereum signInWithSolana', inside('signInWithWeb3')),
    ...every('signInWithPasskey registerPasskey', passkeys),
  },
  'client.mfa': {
    ...every('enroll listFactors getAuthenticatorAssuranceLevel', sb('wire')), // of who has none
    ...every('verify unenroll challenge challengeAndVerify', factors),
  },
  'client.mfa.webauthn': every('enroll challenge verify authenticate register', factors),
  'client.mfa.recoveryCodes': every('getStatus generate verify regenerate unenroll', factors),
  'client.oauth': every('getAuthorizationDetails approveAuthorization denyAuthorization listGrants revokeGrant', oauth),
  'client.passkey': every('startRegistration verifyRegistration startAuthentication verifyAuthentication list update delete', passkeys),
  admin: every('signOut inviteUserByEmail generateLink createUser listUsers getUserById updateUserById deleteUser', sb('admin')),
  'admin.mfa': every('listFactors deleteFactor', factors),
  'admin.oauth': every('listClients createClient getClient updateClient deleteClient regenerateClientSecret', oauth),
  'admin.customProviders': every('listProviders createProvider getProvider updateProvider deleteProvider', sb('oauth')),
  'admin.passkey': every('listPasskeys deletePasskey', passkeys),
};

const gotrue = 'gotrue-js.test.mjs';

export const gotrueJS = {
  client: {
    ...every('settings signup login confirm requestPasswordRecovery recover acceptInvite createUser currentUser', gotrue),
    validateCurrentSession: gotrue,
    ...every('loginExternalUrl acceptInviteExternalUrl', 'gotrue-js-external.test.mjs'),
    verify: inside('confirm'),
  },
  user: {
    ...every('update jwt logout getUserData tokenDetails clearSession', gotrue),
  },
  'user (static)': {
    removeSavedSession: inside('clearSession'),
    recoverSession: inside('currentUser'),
  },
  admin: every('listUsers getUser updateUser createUser deleteUser', gotrue),
};

const netlify = 'netlify-identity.test.mjs';

export const netlifyIdentity = {
  exports: {
    ...every('signup login logout getUser isAuthenticated getIdentityConfig getSettings refreshSession hydrateSession', netlify),
    ...every('requestPasswordRecovery recoverPassword confirmEmail acceptInvite verifyEmailChange updateUser', netlify),
    ...every('handleAuthCallback onAuthChange oauthLogin', netlify),
    verifyRequestOrigin: 'no server: it looks at a request to the site',
  },
  admin: every('listUsers getUser createUser updateUser deleteUser', netlify),
};
