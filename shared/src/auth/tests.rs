use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
};
use serde_json::{Value, json};

use super::*;
use crate::id::FeedId;
use crate::time::ProgramTime;

const NOW: i64 = 1_790_000_000;
const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const RSA: &str = include_str!("fixtures/rsa.pem");

fn at(seconds: i64) -> ProgramTime {
    ProgramTime::from_unix_nanos(seconds * 1_000_000_000)
}

fn policy() -> Policy {
    Policy { audience: "bicast".into(), issuer: String::new() }
}

fn keys() -> KeySet {
    KeySet::default().with(Key::secret(SECRET).unwrap())
}

fn feed(id: &str) -> FeedId {
    id.parse().unwrap()
}

/// What a good viewer's token says.
fn claims() -> Value {
    json!({"aud": "bicast", "exp": NOW + 60, "feed": "studio-*", "rights": ["watch"], "tier": "vip", "sub": "anna"})
}

fn b64(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A token with any header and any claims, rightly signed with a secret.
fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = format!("{}.{}", b64(&header.to_string()), b64(&claims.to_string()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let tag = ring::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn signed(claims: &Value) -> String {
    hs256(&json!({"alg": "HS256", "typ": "JWT"}), claims, SECRET)
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn ask(keys: &KeySet, token: &str, act: Act, id: &str) -> Result<Grant, Refusal> {
    policy().admit(keys, Some(token.as_bytes()), at(NOW), act, Some(&feed(id)))
}

fn watch(token: &str) -> Result<Grant, Refusal> {
    ask(&keys(), token, Act::WatchRealtime, "studio-1")
}

/// The name of the refusal, after checking that it can be told.
fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) -> &'static str {
    let refusal = result.unwrap_err();
    let problem = refusal.problem();
    assert_eq!(problem.kind, format!("/problems/token-{}", refusal.name()));
    assert!(!problem.detail.is_empty() && problem.hint.is_some(), "{problem:?}");
    let challenge = refusal.challenge();
    assert!(challenge.starts_with("Bearer realm="), "{challenge}");
    assert!(challenge.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{challenge}");
    assert_eq!(challenge.contains("insufficient_scope"), problem.status == 403, "{challenge}");
    assert_eq!(challenge.matches('"').count() % 2, 0, "{challenge}");
    refusal.name()
}

#[test]
fn a_good_token_is_what_it_says() {
    let grant = watch(&signed(&claims())).unwrap();
    assert_eq!((grant.viewer.as_deref(), grant.tier, grant.expires), (Some("anna"), Tier::Vip, NOW + 60));
    assert_eq!(grant.rights, [Right::Watch]);
    for also in [
        with("aud", json!(["other", "bicast"])),
        with("exp", json!(NOW as f64 + 0.5)),
        with("nbf", NOW + 2),
        with("unknown", json!({"of": "another program"})),
        without("sub"),
    ] {
        assert!(watch(&signed(&also)).is_ok(), "{also}");
    }
}

#[test]
fn no_token_is_no_error_in_the_challenge() {
    let refusal = policy().admit(&keys(), None, at(NOW), Act::Publish, None).unwrap_err();
    assert_eq!((refusal.status(), refusal.challenge().as_str()), (401, "Bearer realm=\"bicast\""));
    assert_eq!(refused(Err::<(), _>(refusal)), "missing");
}

#[test]
fn what_is_no_token_is_said_to_be_none() {
    let good = signed(&claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    for broken in [
        String::new(),
        "token".into(),
        "..".into(),
        message.into(),
        format!("{good}.x"),
        format!("{good}\u{e4}"),
        format!("a{message}.{signature}"),
        format!("{}.{}.", b64("[]"), b64("{}")),
        format!("{}.{}.", b64("{\"alg\":5}"), b64("{}")),
        format!("{}.{}.", b64("{\"alg\":\"HS256\",\"alg\":\"none\"}"), b64("{}")),
    ] {
        assert_eq!(refused(watch(&broken)), "malformed", "{broken}");
    }
    let extended = hs256(&json!({"alg": "HS256", "crit": ["exp"]}), &claims(), SECRET);
    assert_eq!(refused(watch(&extended)), "malformed");
    assert_eq!(policy().verify(&keys(), &[0xff, b'.', b'.'], at(NOW)).unwrap_err().name(), "malformed");
}

#[test]
fn an_unsigned_token_is_refused_however_it_is_written() {
    for none in ["none", "None", "NONE", "nOnE"] {
        let message = format!("{}.{}", b64(&json!({"alg": none}).to_string()), b64(&claims().to_string()));
        assert_eq!(refused(watch(&format!("{message}."))), "unsigned");
        assert_eq!(refused(watch(&format!("{message}.AAAA"))), "unsigned");
    }
}

#[test]
fn a_forged_token_is_refused_before_its_claims_are_read() {
    let other =
        hs256(&json!({"alg": "HS256"}), &json!("not even claims"), b"another secret of 32 bytes......");
    assert_eq!(refused(watch(&other)), "forged");
    let good = signed(&claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let raised = b64(&with("rights", json!(["watch", "admin"])).to_string());
    assert_eq!(refused(watch(&format!("{header}.{raised}.{signature}"))), "forged");
    assert_eq!(refused(watch(&format!("{message}."))), "forged");
    assert_eq!(refused(watch(&format!("{message}.{}", &signature[1..]))), "forged");
    assert_eq!(refused(watch(&format!("{message}.!"))), "forged");
}

#[test]
fn an_oversized_token_is_not_looked_at() {
    let long = signed(&with("sub", "x".repeat(LONGEST_TOKEN)));
    assert_eq!(refused(watch(&long)), "too-long");
    assert_eq!(refused(watch(&".".repeat(1 << 20))), "too-long");
}

#[test]
fn a_token_holds_from_its_beginning_to_its_end_give_or_take_the_leeway() {
    let leeway = i64::try_from(LEEWAY.as_secs()).unwrap();
    let token = signed(&with("nbf", NOW - 10));
    let at_time = |now: i64| policy().verify(&keys(), token.as_bytes(), at(now)).map_err(|why| why.name());
    let (begin, end) = (NOW - 10, NOW + 60);
    assert_eq!(at_time(begin - leeway - 1).err(), Some("not-yet"));
    assert!(at_time(begin - leeway).is_ok());
    let grant = at_time(end + leeway - 1).unwrap();
    assert!(!grant.has_expired(at(end + leeway - 1)) && grant.has_expired(at(end + leeway)));
    assert_eq!(at_time(end + leeway).err(), Some("expired"));
    assert_eq!(refused(watch(&signed(&with("exp", NOW - 60)))), "expired");
    assert_eq!(refused(watch(&signed(&with("nbf", NOW + 60)))), "not-yet");
}

#[test]
fn a_token_for_somebody_else_or_by_somebody_else_is_refused() {
    assert_eq!(refused(watch(&signed(&with("aud", "other")))), "audience");
    assert_eq!(refused(watch(&signed(&with("aud", json!(["a", "b"]))))), "audience");
    let strict = Policy { issuer: "https://issuer.example".into(), ..policy() };
    let verify = |claims: &Value| strict.verify(&keys(), signed(claims).as_bytes(), at(NOW));
    assert_eq!(refused(verify(&claims())), "issuer");
    assert_eq!(refused(verify(&with("iss", "https://other.example"))), "issuer");
    assert!(verify(&with("iss", "https://issuer.example")).is_ok());
}

#[test]
fn claims_that_make_no_sense_are_named() {
    for (wrong, said) in [
        (without("exp"), "exp"),
        (without("aud"), "aud"),
        (without("feed"), "feed"),
        (without("rights"), "rights"),
        (with("rights", json!([])), "rights"),
        (with("rights", json!(["own"])), "own"),
        (with("tier", "gold"), "gold"),
        (with("feed", "a b"), "a b"),
        (with("exp", "soon"), "soon"),
        (with("exp", -1), "-1"),
        (with("exp", 1e300), "1000"),
        (with("sub", ""), "sub"),
        (with("jti", "x".repeat(129)), "jti"),
        (with("viewers", 0), "viewers"),
        (with("viewers", -1), "-1"),
    ] {
        let Err(Refusal::Claims(why)) = watch(&signed(&wrong)) else { panic!("{wrong}") };
        assert!(why.contains(said), "{why}");
        assert_eq!(refused(watch(&signed(&wrong))), "claims");
    }
    let mut nobody = without("sub");
    nobody["viewers"] = 1.into();
    assert_eq!(refused(watch(&signed(&nobody))), "claims");
}

#[test]
fn a_token_reaches_as_far_as_its_feed_its_rights_and_its_tier() {
    let grant = |claims: &Value| policy().verify(&keys(), signed(claims).as_bytes(), at(NOW)).unwrap();
    let one = feed("studio-1");
    let vip = grant(&claims());
    assert_eq!(vip.allows(Act::WatchRealtime, Some(&one)), Ok(()));
    assert_eq!(vip.allows(Act::WatchHls, Some(&one)), Ok(()));
    assert_eq!(vip.allows(Act::Read, Some(&one)), Ok(()));
    assert_eq!(refused(vip.allows(Act::WatchHls, Some(&feed("demo")))), "feed");
    assert_eq!(refused(vip.allows(Act::Publish, Some(&one))), "right");
    assert_eq!(refused(vip.allows(Act::Administer, None)), "right");
    let free = grant(&without("tier"));
    assert_eq!(free.allows(Act::WatchHls, Some(&one)), Ok(()));
    assert_eq!(refused(free.allows(Act::WatchRealtime, Some(&one))), "tier");
    let publisher = grant(&with("rights", json!(["publish"])));
    assert_eq!(publisher.allows(Act::Publish, Some(&one)), Ok(()));
    assert_eq!(refused(publisher.allows(Act::WatchHls, Some(&one))), "right");
    let admin = grant(&with("rights", json!(["admin"])));
    assert_eq!(admin.allows(Act::Administer, None), Ok(()));
    assert_eq!(refused(admin.allows(Act::Publish, Some(&one))), "right");
}

#[test]
fn who_administers_some_feeds_takes_nothing_back_from_viewers_of_others() {
    let admin = |feeds: &str| {
        let mut claims = with("rights", json!(["admin"]));
        claims["feed"] = feeds.into();
        policy().verify(&keys(), signed(&claims).as_bytes(), at(NOW)).unwrap()
    };
    assert_eq!(refused(admin("studio-*").allows(Act::TakeBack, None)), "some-feeds");
    assert_eq!(admin("*").allows(Act::TakeBack, None), Ok(()));
    assert_eq!(
        refused(
            policy()
                .verify(&keys(), signed(&with("feed", "*")).as_bytes(), at(NOW))
                .unwrap()
                .allows(Act::TakeBack, None)
        ),
        "right"
    );
}

#[test]
fn who_has_to_stay_behind_reaches_nothing_that_is_not() {
    let late = policy().verify(&keys(), signed(&with("delay", "30s")).as_bytes(), at(NOW)).unwrap();
    assert_eq!(refused(late.allows(Act::WatchRealtime, Some(&feed("studio-1")))), "delayed");
    late.allows(Act::WatchHls, Some(&feed("studio-1"))).unwrap();
    assert_eq!(
        (late.tier, late.tier()),
        (Tier::Vip, Tier::Free),
        "it is served over HLS, whatever else it may"
    );
}

/// Pairs of keys: a signer, and the public half as a JWK.
fn pairs() -> Vec<(&'static str, Signer, Value)> {
    let random = SystemRandom::new();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let pem = |der: &[u8]| {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    };
    let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let ed_public = Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap();
    let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let ec_public = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).unwrap();
    let point = ec_public.public_key().as_ref();
    let body: String = RSA.lines().filter(|line| !line.starts_with('-')).collect();
    let rsa =
        RsaKeyPair::from_pkcs8(&base64::engine::general_purpose::STANDARD.decode(body).unwrap()).unwrap();
    let rsa_public = ring::signature::RsaPublicKeyComponents::<Vec<u8>>::from(rsa.public());
    vec![
        (
            "EdDSA",
            Signer::pem(&pem(ed.as_ref())).unwrap(),
            json!({"kty": "OKP", "crv": "Ed25519", "x": encode(ed_public.public_key().as_ref())}),
        ),
        (
            "ES256",
            Signer::pem(&pem(ec.as_ref())).unwrap(),
            json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])}),
        ),
        (
            "RS256",
            Signer::pem(RSA).unwrap(),
            json!({"kty": "RSA", "n": encode(&rsa_public.n), "e": encode(&rsa_public.e), "use": "sig"}),
        ),
    ]
}

fn minted(signer: &Signer) -> String {
    signer.sign(&serde_json::from_value(claims()).unwrap()).unwrap()
}

#[test]
fn each_algorithm_signs_and_is_checked() {
    for (algorithm, signer, mut jwk) in pairs() {
        jwk["kid"] = "k".into();
        let set = json!({"keys": [jwk]}).to_string();
        let (keys, passed) = KeySet::from_jwks(set.as_bytes(), Secrets::Passed).unwrap();
        assert_eq!((keys.len(), passed.len()), (1, 0));
        let token = minted(&signer.named(Some("k".into())));
        assert_eq!(look_inside(&token).unwrap().header["alg"], algorithm);
        assert!(ask(&keys, &token, Act::WatchRealtime, "studio-1").is_ok(), "{algorithm}");
        let cut = token.len() - 8;
        let forged = format!("{}AAAAAAAA", &token[..cut]);
        assert_eq!(refused(ask(&keys, &forged, Act::WatchRealtime, "studio-1")), "forged", "{algorithm}");
    }
    let secret = Signer::secret(SECRET).unwrap();
    assert!(watch(&minted(&secret)).is_ok());
    assert!(Signer::secret(b"short").is_err());
    assert_eq!(Signer::pem("nothing").err(), Some(BadSigner::NotAKey));
}

#[test]
fn a_public_key_is_never_the_secret_of_an_hmac() {
    for (algorithm, _, mut jwk) in pairs() {
        jwk["kid"] = "k".into();
        let set = json!({"keys": [jwk.clone()]}).to_string();
        let (keys, _) = KeySet::from_jwks(set.as_bytes(), Secrets::Passed).unwrap();
        // The attacker knows the public key in every form.
        let forms = ["x", "n"].iter().filter_map(|name| jwk[name].as_str());
        for form in forms {
            let bytes = URL_SAFE_NO_PAD.decode(form).unwrap();
            for secret in [form.as_bytes(), &bytes] {
                let token = hs256(&json!({"alg": "HS256", "kid": "k"}), &claims(), secret);
                assert_eq!(
                    refused(ask(&keys, &token, Act::WatchHls, "studio-1")),
                    "algorithm",
                    "{algorithm}"
                );
                let token = hs256(&json!({"alg": "HS256"}), &claims(), secret);
                assert_eq!(
                    refused(ask(&keys, &token, Act::WatchHls, "studio-1")),
                    "unknown-key",
                    "{algorithm}"
                );
            }
        }
    }
    for other in ["HS512", "RS512", "PS256", "ES384", "dir", "HS256 "] {
        assert_eq!(refused(watch(&hs256(&json!({"alg": other}), &claims(), SECRET))), "algorithm", "{other}");
    }
}

#[test]
fn keys_are_rotated_by_their_names() {
    let secret =
        |kid: &str, fill: &str| json!({"kty": "oct", "kid": kid, "alg": "HS256", "k": b64(&fill.repeat(32))});
    let token = |kid: &str, fill: &str| {
        hs256(&json!({"alg": "HS256", "kid": kid}), &claims(), fill.repeat(32).as_bytes())
    };
    let set = |keys: Vec<Value>| {
        KeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes(), Secrets::Allowed).unwrap().0
    };
    let (old, new) = (secret("old", "o"), secret("new", "n"));
    let watch = |keys: &KeySet, token: &str| ask(keys, token, Act::WatchHls, "studio-1");
    let before = set(vec![old.clone()]);
    assert!(watch(&before, &token("old", "o")).is_ok());
    assert_eq!(refused(watch(&before, &token("new", "n"))), "unknown-key");
    let during = set(vec![old, new.clone()]);
    assert!(watch(&during, &token("old", "o")).is_ok());
    assert!(watch(&during, &token("new", "n")).is_ok());
    assert_eq!(refused(watch(&during, &token("old", "n"))), "forged", "under the other's name");
    let after = set(vec![new]);
    assert_eq!(refused(watch(&after, &token("old", "o"))), "unknown-key");
    assert!(watch(&after, &token("new", "n")).is_ok());
    // Beside a secret of the settings, which has no name.
    let both = after.and(&keys());
    assert!(watch(&both, &signed(&claims())).is_ok() && watch(&both, &token("new", "n")).is_ok());
    assert_eq!(refused(watch(&both, &token("old", "o"))), "unknown-key");
}

#[test]
fn keys_that_cannot_be_used_are_passed_over_and_named() {
    let good = pairs().swap_remove(0).2;
    let odd = [
        json!({"kty": "oct", "kid": "published", "k": b64(&"s".repeat(32))}),
        json!({"kty": "RSA", "kid": "small", "n": b64(&"n".repeat(128)), "e": "AQAB"}),
        json!({"kty": "EC", "kid": "p384", "crv": "P-384", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "kid": "short", "crv": "Ed25519", "x": "AA"}),
        json!({"kty": "RSA", "kid": "enc", "use": "enc", "n": b64(&"n".repeat(256)), "e": "AQAB"}),
        json!({"kty": "RSA", "kid": "pss", "alg": "PS256", "n": b64(&"n".repeat(256)), "e": "AQAB"}),
        json!({"kty": "lattice", "kid": "future"}),
        json!(5),
    ];
    let mut all = odd.to_vec();
    all.push(good);
    let text = json!({ "keys": all }).to_string();
    let (keys, passed) = KeySet::from_jwks(text.as_bytes(), Secrets::Passed).unwrap();
    assert_eq!((keys.len(), passed.len()), (1, odd.len()), "{passed:?}");
    assert!(passed[0].contains("published"), "{passed:?}");
    let none = json!({ "keys": odd }).to_string();
    assert!(matches!(KeySet::from_jwks(none.as_bytes(), Secrets::Passed), Err(BadKeys::NoKey(Some(_)))));
    let many = json!({ "keys": vec![json!({}); MOST_KEYS + 1] }).to_string();
    assert_eq!(
        KeySet::from_jwks(many.as_bytes(), Secrets::Passed).err(),
        Some(BadKeys::TooMany(MOST_KEYS + 1))
    );
    assert!(matches!(KeySet::from_jwks(b"[]", Secrets::Passed), Err(BadKeys::NotASet(_))));
    assert_eq!(Key::secret(&SECRET[1..]).err(), Some(BadKeys::ShortSecret(31)));
}

proptest::proptest! {
    /// Whatever comes is refused, and nothing of it panics.
    #[test]
    fn no_bytes_are_a_token(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), at_dot in 0_usize..300) {
        let _ = policy().verify(&keys(), &bytes, at(NOW)).unwrap_err();
        let mut token = signed(&claims()).into_bytes();
        let place = at_dot % token.len();
        token[place] = token[place].wrapping_add(bytes.first().copied().unwrap_or(1).max(1));
        let _ = policy().verify(&keys(), &token, at(NOW)).unwrap_err();
    }
}
