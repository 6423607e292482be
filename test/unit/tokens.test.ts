/** Tokens: which keys are taken for what, what a token must say, and keys that a service exchanges. */
import { expect, test } from "bun:test";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { exportJWK, SignJWT } from "jose";
import { parseClaim, parseKeySource } from "../../cli/flags/parsers.ts";
import { Access } from "../../src/access/access.ts";
import { KeySet } from "../../src/access/key-set.ts";
import { fixedKeys, readTokenKeys } from "../../src/access/token-keys.ts";
import { looksLikeToken, Tokens, type TokenTerms } from "../../src/access/tokens.ts";
import { keySetAskMs, keySetFreshMs, keySetStaleMs } from "../../src/base/access-limits.ts";
import { finish } from "../../src/base/slices.ts";
import { makeAuthority } from "../support/certificates.ts";

const wall = 1_800_000_000_000;
const at = (ms = 0) => ({ now: ms, wall: wall + ms });
const secret = "0123456789abcdef0123456789abcdef";
const tokensBy = (text: string, terms?: TokenTerms): Tokens => new Tokens(fixedKeys(readTokenKeys(text)), terms);
const sign = (alg: string, key: Parameters<SignJWT["sign"]>[0], claims = {}, header = {}): Promise<string> =>
  new SignJWT({ sub: "dev", ...claims }).setProtectedHeader({ alg, ...header }).sign(key);
const bySecret = (claims: object): Promise<string> => sign("HS256", Buffer.from(secret), claims);

test("each key's own algorithms, in their time", async () => {
  const shared = tokensBy(secret);
  const good = await sign("HS256", Buffer.from(secret), {
    exp: wall / 1000 + 60,
    acl: { pub: [`up/$\{clientid}`], all: ["x"] },
  });
  expect(await shared.verify(good, at())).toEqual({
    username: "dev",
    clientId: undefined,
    topics: { publish: ["up/%c", "x"], subscribe: ["x"] },
    expiresAt: (wall / 1000 + 60) * 1000,
    keyId: expect.any(String),
  });
  expect(looksLikeToken(good)).toBe(true);
  expect(looksLikeToken("a.password.with dots")).toBe(false);
  await expect(shared.verify(good, at(70_000))).rejects.toThrow("exp");
  await expect(
    shared.verify(await sign("HS256", Buffer.from(secret), { nbf: wall / 1000 + 60 }), at()),
  ).rejects.toThrow("nbf");
  await expect(shared.verify(`${good.slice(0, -4)}AAAA`, at())).rejects.toThrow("signature");
  const none = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${Buffer.from('{"sub":"dev"}').toString("base64url")}.`;
  await expect(shared.verify(none, at())).rejects.toThrow();
  for (const [alg, pair] of [
    ["RS256", generateKeyPairSync("rsa", { modulusLength: 2048 })],
    ["ES256", generateKeyPairSync("ec", { namedCurve: "P-256" })],
    ["EdDSA", generateKeyPairSync("ed25519")],
  ] as const) {
    const pem = pair.publicKey.export({ type: "spki", format: "pem" }) as string;
    const token = await sign(alg, pair.privateKey);
    expect((await tokensBy(pem).verify(token, at())).username).toBe("dev");
    const set = JSON.stringify({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: "k", alg }] });
    expect((await tokensBy(set).verify(await sign(alg, pair.privateKey, {}, { kid: "k" }), at())).username).toBe("dev");
    await expect(tokensBy(set).verify(await sign(alg, pair.privateKey, {}, { kid: "old" }), at())).rejects.toThrow();
    // The public key must not serve as a secret.
    const forged = await sign("HS256", Buffer.from(pem.trim()));
    await expect(tokensBy(pem).verify(forged, at())).rejects.toThrow();
    await expect(
      tokensBy(set).verify(await sign("HS256", Buffer.from(pem.trim()), {}, { kid: "k" }), at()),
    ).rejects.toThrow();
  }
  expect(() => tokensBy("short")).toThrow("32 bytes");
  expect(() => tokensBy('{"keys":[]}')).toThrow("no keys");
});

test("a public key is never a secret, whatever stands around it and whatever form it has", async () => {
  const authority = makeAuthority();
  const path = authority.issue("idp").cert;
  const cert = readFileSync(path, "utf8");
  const shown = Bun.spawnSync(["openssl", "x509", "-text", "-in", path]).stdout.toString();
  authority.remove();
  const { publicKey } = new X509Certificate(cert);
  const spki = publicKey.export({ type: "spki", format: "pem" }) as string;
  const plain = publicKey.export({ type: "spki", format: "der" });
  expect(shown).toStartWith("Certificate:");
  const attributes = `Bag Attributes\n    friendlyName: idp\r\n${spki}`;
  for (const text of [shown, attributes, `\ufeff${cert}`, `# the key\n${spki}`]) {
    const forged = await sign("HS256", Buffer.from(text.trim()));
    await expect(tokensBy(text).verify(forged, at())).rejects.toThrow("alg");
  }
  const jwk = JSON.stringify(await exportJWK(publicKey));
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey;
  const refused: Record<string, string> = {
    "line breaks": `${secret}\n${secret}`,
    "no whole key": "-----BEGIN PUBLIC KEY-----",
    "not text": plain.toString("utf8").replaceAll(/[\r\n]/g, "."),
    "in base64": plain.toString("base64"),
    "an SSH key": `ssh-ed25519 ${"A".repeat(68)} idp@example.org`,
    "no keys": `[${jwk}]`.slice(1, -1).replace("kty", "kind"),
  };
  for (const [why, text] of Object.entries(refused)) expect(() => readTokenKeys(text)).toThrow(why);
  for (const der of [
    rsa.export({ type: "pkcs1", format: "der" }),
    rsa.export({ type: "spki", format: "der" }),
    new X509Certificate(cert).raw,
  ]) {
    expect(() => readTokenKeys(der.toString("base64"))).toThrow("in base64");
    expect(() => readTokenKeys(der.toString("base64url"))).toThrow("in base64");
  }
  expect(() => readTokenKeys(`-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----`)).toThrow();
  // A secret in base64 is one: it only must not be a key.
  expect((await tokensBy(secret).verify(await bySecret({}), at())).username).toBe("dev");
  const random = Buffer.from(secret).toString("base64");
  expect((await tokensBy(random).verify(await sign("HS256", Buffer.from(random)), at())).username).toBe("dev");
});

test("a key set may hold secrets, which serve for algorithms of secrets alone", async () => {
  const oct = { kty: "oct", k: Buffer.from(secret).toString("base64url") };
  const pair = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const rsa = await exportJWK(pair.publicKey);
  const set = (...keys: object[]): Tokens => tokensBy(JSON.stringify({ keys }));
  const named = (kid: string, alg = "HS256") => sign(alg, Buffer.from(secret), {}, { kid });
  const both = set({ ...oct, kid: "o" }, { ...rsa, kid: "r" });
  expect((await both.verify(await named("o"), at())).username).toBe("dev");
  expect((await both.verify(await bySecret({}), at())).username).toBe("dev");
  expect((await both.verify(await sign("RS256", pair.privateKey, {}, { kid: "r" }), at())).username).toBe("dev");
  await expect(both.verify(await named("r"), at())).rejects.toThrow("no applicable key");
  await expect(set({ ...rsa, kid: "r" }).verify(await named("r"), at())).rejects.toThrow("no applicable key");
  await expect(set({ ...oct, alg: "HS512" }).verify(await bySecret({}), at())).rejects.toThrow("no applicable key");
  await expect(set(oct, { ...oct, kid: "2" }).verify(await bySecret({}), at())).rejects.toThrow("multiple");
  expect((await tokensBy(JSON.stringify(oct)).verify(await bySecret({}), at())).username).toBe("dev");
  expect(() => set({ kty: "oct", k: "c2hvcnQ" })).toThrow("32 bytes");
  expect(() => set({ ...oct, use: "enc" })).toThrow("for verifying");
  expect(() => set({ ...oct, key_ops: ["encrypt"] })).toThrow("for verifying");
  // A private key that stands in a set verifies by its public part.
  const own = set({ ...(await exportJWK(pair.privateKey)), kid: "p" });
  expect((await own.verify(await sign("RS256", pair.privateKey, {}, { kid: "p" }), at())).username).toBe("dev");
});

test("audience, issuer and claims that a token must have", async () => {
  const terms = { audience: "mqtt", issuer: "https://id", claims: ["exp", "role=device"] };
  const tokens = tokensBy(secret, terms);
  const good = { aud: ["web", "mqtt"], iss: "https://id", exp: wall / 1000 + 60, role: ["other", "device"] };
  const verify = async (claims: object) => (await tokens.verify(await bySecret({ ...good, ...claims }), at())).username;
  expect(await verify({})).toBe("dev");
  expect(await verify({ aud: "mqtt", role: "device" })).toBe("dev");
  const wrong: [object, string][] = [
    [{ aud: "web" }, "aud"],
    [{ aud: undefined }, "aud"],
    [{ iss: "https://id.evil" }, "iss"],
    [{ iss: undefined }, "iss"],
    [{ exp: undefined }, "exp"],
    [{ role: "devices" }, "role"],
    [{ role: { device: true } }, "role"],
    [{ role: undefined }, "role"],
  ];
  for (const [claims, why] of wrong) await expect(verify(claims)).rejects.toThrow(why);
});

test("a token that names nobody gives no choice of a user name", async () => {
  const access = new Access(
    { allowAnonymous: false, hook: undefined, warn: () => {} },
    { now: () => 0, wall: () => wall },
  );
  finish(access.load({ tokenKey: secret }));
  const verdictOf = async (claims: object, username: string | undefined): Promise<string | undefined> => {
    const password = Buffer.from(await bySecret(claims));
    const applicant = { clientId: "c", username, password, address: "", certificate: undefined };
    const verdict = await new Promise<Parameters<Parameters<Access["authenticate"]>[1]>[0]>((done) =>
      access.authenticate(applicant, done),
    );
    return verdict.kind === "welcome" ? verdict.identity.username : verdict.why;
  };
  for (const claims of [{ sub: undefined }, { sub: "" }, { sub: undefined, client_id: "c" }, { sub: 7 }])
    for (const username of ["admin", "", undefined])
      expect(await verdictOf(claims, username)).toContain("names nobody");
  expect(await verdictOf({}, undefined)).toBe("dev");
  expect(await verdictOf({}, "")).toBe("dev");
  expect(await verdictOf({ username: "alice" }, "alice")).toBe("alice");
  expect(await verdictOf({ username: "alice" }, "dev")).toContain("another user's");
});

/** A service whose answers the test changes. */
function service() {
  const state = {
    asked: 0,
    reply: undefined as { status: number; body: string } | undefined,
    warned: [] as string[],
    withdrawn: 0,
  };
  const get = (): Promise<typeof state.reply> => {
    state.asked++;
    return Promise.resolve(state.reply);
  };
  const told = { warn: (why: string) => void state.warned.push(why), withdrawn: () => void state.withdrawn++ };
  const keySet = new KeySet("https://id/jwks", get, told);
  return { state, tokens: new Tokens(keySet), keySet };
}

test("keys of a service: fetched once, again when they are old or one is unknown, and not for each login", async () => {
  const keyed = (kid: string) => ({ kty: "oct", kid, k: Buffer.from(secret).toString("base64url") });
  const answer = (...kids: string[]) => ({ status: 200, body: JSON.stringify({ keys: kids.map(keyed) }) });
  const { state, tokens } = service();
  const login = async (kid: string, ms: number): Promise<string> => {
    const token = await sign("HS256", Buffer.from(secret), {}, { kid });
    return tokens.verify(token, at(ms)).then(
      () => "welcome",
      (error: Error) => error.name,
    );
  };
  // Nobody answers: nothing is decided, and nobody is asked again at once.
  expect(await Promise.all([login("a", 0), login("a", 0)])).toEqual(["KeysUnavailable", "KeysUnavailable"]);
  expect(await login("a", 1)).toBe("KeysUnavailable");
  expect(state.asked).toBe(1);
  expect(state.warned).toEqual([expect.stringContaining("no answer")]);
  state.reply = answer("a");
  let now = keySetAskMs;
  expect(await login("a", now)).toBe("welcome");
  expect(await login("a", now + keySetFreshMs - 1)).toBe("welcome");
  expect(state.asked).toBe(2);
  // Rotated: the new key is found at once; a stranger's made-up keys have it asked for no more often than that.
  state.reply = answer("b");
  now += 1000;
  expect(await login("b", now)).toBe("welcome");
  expect(await login("a", now + 1)).toBe("JWKSNoMatchingKey");
  expect(await login("c", now + 2)).toBe("JWKSNoMatchingKey");
  expect(state.asked).toBe(3);
  // Withdrawn: it counts no longer than keys are fresh.
  state.reply = answer("d");
  expect(await login("b", now + keySetFreshMs - 1)).toBe("welcome");
  now += keySetFreshMs;
  expect(await login("b", now)).toBe("JWKSNoMatchingKey");
  expect(await login("d", now)).toBe("welcome");
  // Away, or talking nonsense: the last keys serve on for a while.
  for (const reply of [undefined, { status: 500, body: "" }, { status: 200, body: "{}" }, { status: 200, body: "<" }]) {
    state.reply = reply;
    now += keySetFreshMs;
    expect(await login("d", now)).toBe("welcome");
  }
  expect(await login("d", now + keySetStaleMs)).toBe("KeysUnavailable");
});

test("keys are fetched so that nobody on the way can exchange them", () => {
  for (const text of ["file", "https://id/jwks", "http://127.0.0.1:1/", "http://localhost/", "http://[::1]:1/"])
    expect(parseKeySource(text)).toBe(text);
  for (const text of ["http://id/jwks", "http://127.0.0.1.example.org/", "HTTP://id/", "https://", ""])
    expect(() => parseKeySource(text)).toThrow();
  expect(["exp", "role=a=b", "role="].map(parseClaim)).toEqual(["exp", "role=a=b", "role="]);
  for (const text of ["", "=x"]) expect(() => parseClaim(text)).toThrow("NAME");
});

test("whose token was signed with a key that is withdrawn is known no more, once that is known", async () => {
  const pair = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const other = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = await exportJWK(pair.publicKey);
  const answer = (...keys: object[]) => ({ status: 200, body: JSON.stringify({ keys }) });
  const { state, tokens, keySet } = service();
  // A stranger's key type, which some services have beside others, is no reason to refuse the set.
  state.reply = answer({ ...jwk, kid: "r" }, { kty: "new", kid: "n" });
  const { keyId } = await tokens.verify(await sign("RS256", pair.privateKey, {}, { kid: "r" }), at());
  expect(tokens.stillKnows(keyId)).toBe(true);
  // The same key in another dress is the same.
  const pem = pair.publicKey.export({ type: "spki", format: "pem" }) as string;
  expect(tokensBy(pem).stillKnows(keyId)).toBe(true);
  expect(tokensBy(secret).stillKnows(keyId)).toBe(false);
  state.reply = answer({ ...(await exportJWK(other.publicKey)), kid: "e" });
  keySet.refresh(keySetFreshMs - 1);
  expect([state.asked, state.withdrawn]).toEqual([1, 0]);
  keySet.refresh(keySetFreshMs);
  await Bun.sleep(0);
  expect([state.asked, state.withdrawn, tokens.stillKnows(keyId)]).toEqual([2, 1, false]);
  // While nobody answers nothing is known.
  state.reply = undefined;
  keySet.refresh(2 * keySetFreshMs);
  await Bun.sleep(0);
  expect([state.asked, state.withdrawn]).toEqual([3, 1]);
  expect(
    new Tokens(new KeySet("https://id", () => Promise.resolve(undefined), { warn() {}, withdrawn() {} })).stillKnows(
      keyId,
    ),
  ).toBe(true);
});
