//! Looks at the address that was given: what clients will follow, or why they cannot.

use anyhow::Context as _;
use url::Url;

use super::args::HlsArgs;
use crate::hls::core::answers::Reply;
use crate::hls::core::edge::{Address, Edge};
use crate::hls::core::figures::Mode;
use crate::hls::core::playlist::Multivariant;
use crate::hls::fetch::Fetch;

/// What each client loads.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Before all else; none where a media playlist was given.
    pub(crate) multivariant: Option<Address>,
    /// The media playlists, picture first.
    pub(crate) playlists: Vec<Url>,
    pub(crate) mode: Mode,
    /// What is not as one would expect of a low-latency origin.
    pub(crate) remarks: Vec<String>,
}

/// Finds it.
///
/// # Errors
/// Where there is nothing to follow, with the next step.
pub(crate) async fn find(args: &HlsArgs) -> anyhow::Result<Plan> {
    let look = Look {
        fetch: Fetch::new(args.insecure, args.url.scheme() == "https")?,
        authorization: args.token.as_ref().map(|token| format!("Bearer {token}")),
        home: args.url.origin(),
        insecure: args.insecure,
    };
    let (url, text) = look.at(&args.url).await?;
    let list = Multivariant::parse(&text);
    let Some((variant, uri)) = list.variants.first() else {
        let edge = read(&url, &text)?;
        return Ok(plan(None, vec![(url, edge)]));
    };
    let mut uris = vec![uri.clone()];
    let group = variant.attributes.get("AUDIO");
    let sounds: Vec<_> = list
        .groups
        .iter()
        .filter(|tag| group.is_some() && tag.attributes.get("GROUP-ID") == group)
        .filter(|tag| tag.attributes.is("TYPE", "AUDIO"))
        .collect();
    let sound = sounds.iter().find(|tag| tag.attributes.is("DEFAULT", "YES")).or(sounds.first());
    // A sound without an address is in the variant's own segments; one with the variant's address is the variant.
    uris.extend(
        sound.and_then(|tag| tag.attributes.get("URI")).filter(|sound| sound != uri).map(str::to_owned),
    );
    let mut found = Vec::new();
    for uri in uris {
        let address = url.join(&uri).with_context(|| format!("{url} names {uri:?}, which is no address"))?;
        let (url, text) = look.at(&address).await?;
        let edge = read(&url, &text)?;
        found.push((url, edge));
    }
    Ok(plan(Address::of(&url), found))
}

fn read(url: &Url, text: &str) -> anyhow::Result<Edge> {
    let edge = Edge::read(text, url)
        .with_context(|| format!("{url} cannot be followed (give a multivariant or a media playlist)"))?;
    anyhow::ensure!(
        !edge.ended,
        "{url} has its EXT-X-ENDLIST: the feed is over, there is no live edge to follow"
    );
    Ok(edge)
}

fn plan(multivariant: Option<Address>, found: Vec<(Url, Edge)>) -> Plan {
    let mut remarks = Vec::new();
    let mut mode = Mode::Blocking;
    for (url, edge) in &found {
        let (lacks, unit) = match (edge.blocks, edge.parts) {
            (true, true) => continue,
            (false, true) => ("no CAN-BLOCK-RELOAD=YES: it is polled", "part"),
            (true, false) => ("no EXT-X-PART-INF: its segments are followed whole", "segment"),
            (false, false) => {
                ("neither CAN-BLOCK-RELOAD=YES nor EXT-X-PART-INF: it is no LL-HLS and is polled", "segment")
            }
        };
        if !edge.blocks {
            mode = Mode::Polling;
        }
        let pause = edge.pause.as_secs_f64();
        remarks.push(format!("{url} has {lacks}, a {unit} is {pause} s"));
    }
    Plan { multivariant, playlists: found.into_iter().map(|(url, _)| url).collect(), mode, remarks }
}

struct Look {
    fetch: Fetch,
    authorization: Option<String>,
    /// The only origin that gets the token.
    home: url::Origin,
    insecure: bool,
}

impl Look {
    /// A playlist's text and where it was in the end.
    async fn at(&self, url: &Url) -> anyhow::Result<(Url, String)> {
        let authorization = self.authorization.as_deref().filter(|_| url.origin() == self.home);
        let header = authorization.map(|value| ("authorization", value));
        let found = self.fetch.find_with(url, header.as_slice()).await;
        let (url, reply) = found.map_err(|error| self.unreachable(url, &error))?;
        if reply.status != 200 {
            anyhow::bail!("{url} is answered with {}{}", reply.status, next_step(&reply));
        }
        Ok((url, String::from_utf8_lossy(&reply.body).into_owned()))
    }

    fn unreachable(&self, url: &Url, error: &anyhow::Error) -> anyhow::Error {
        let why = format!("{error:#}");
        let step = if why.contains("certificate") && !self.insecure {
            ". If the certificate is right although nobody vouches for it: --insecure"
        } else if why.contains("InvalidContentType") || why.contains("corrupt message") {
            ". It seems not to speak TLS there: http:// instead of https://?"
        } else if why.contains("refused") {
            ". Is the server running, and is this its port?"
        } else {
            ""
        };
        anyhow::anyhow!("cannot load {url}: {why}{step}")
    }
}

/// What an error answer says itself, or what is usual.
fn next_step(reply: &Reply) -> String {
    let problem = serde_json::from_slice::<serde_json::Value>(&reply.body).ok();
    let said = |name: &str| {
        let text = problem.as_ref().and_then(|problem| problem[name].as_str())?;
        Some(text.chars().filter(|c| !c.is_control()).take(300).collect::<String>())
    };
    let usual = match reply.status {
        401 | 403 => "The server wants a token that may play this: --token TOKEN",
        404 => "Is the feed being published, and is this its playlist's address?",
        503 => "The feed may be starting: try again in a second",
        _ => "",
    };
    let words = said("hint").unwrap_or_else(|| usual.to_owned());
    let all = [said("detail"), Some(words)].into_iter().flatten().filter(|text| !text.is_empty());
    let all = all.collect::<Vec<_>>().join(" ");
    if all.is_empty() { all } else { format!(": {all}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(control: &str, part: &str) -> Edge {
        let text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n{control}{part}#EXTINF:2,\na.m4s\n");
        Edge::read(&text, &url()).unwrap()
    }

    fn url() -> Url {
        Url::parse("http://h/a.m3u8").unwrap()
    }

    #[test]
    fn what_is_no_low_latency_is_said() {
        let blocks = "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n";
        let parts = "#EXT-X-PART-INF:PART-TARGET=0.5\n#EXT-X-PART:DURATION=0.5,URI=\"p\"\n";
        let of = |control, part| plan(None, vec![(url(), edge(control, part))]);
        assert_eq!((of(blocks, parts).mode, of(blocks, parts).remarks.len()), (Mode::Blocking, 0));
        assert_eq!((of(blocks, "").mode, of(blocks, "").remarks.len()), (Mode::Blocking, 1));
        let polled = of("", "");
        assert!(polled.mode == Mode::Polling && polled.remarks[0].contains("no LL-HLS"), "{polled:?}");
    }

    #[test]
    fn an_error_is_told_with_its_next_step() {
        let reply = |status, body: &str| Reply {
            url: String::new(),
            status,
            headers: Vec::new(),
            body: body.to_owned().into(),
            modern: None,
        };
        assert!(next_step(&reply(404, "<html>")).contains("being published"));
        let own = next_step(&reply(404, r#"{"detail":"No feed\u0007 x.","hint":"Ask for y."}"#));
        assert_eq!(own, ": No feed x. Ask for y.");
        assert_eq!(next_step(&reply(500, "")), "");
    }
}
