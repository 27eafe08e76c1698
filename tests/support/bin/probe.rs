//! `bicast-probe`: tells as JSON what an LL-HLS feed holds, frame by frame, for tests that are not written in Rust.

use bicast_tests::{barcode, hls};
use clap::Parser;
use serde_json::json;

/// Fetches all that a feed's media playlists list and prints every sample with its presentation time. With
/// --barcode the video is decoded and the number in each picture is read.
#[derive(Parser)]
struct Args {
    /// The multivariant playlist.
    url: String,
    /// Decode the video and read the frame numbers (needs ffmpeg).
    #[arg(long)]
    barcode: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut renditions = Vec::new();
    for url in hls::renditions(&args.url).await? {
        let window = hls::window(&url).await?;
        let contiguous = window.check_contiguous().err().map(|error| error.to_string());
        let is_video = window.inits.values().any(|(_, init)| init.sample_entry.starts_with("avc"));
        let numbers = if args.barcode && is_video {
            barcode::of_window(&window)?
        } else {
            vec![None; window.frames.len()]
        };
        let frames: Vec<_> = window
            .frames
            .iter()
            .zip(numbers)
            .map(|(frame, number)| {
                let number = number.or(frame.number);
                json!({
                    "time": frame.sample.presentation,
                    "segment": frame.segment,
                    "number": number,
                    "key": frame.sample.sync,
                    // A still frame of bicast's own, where the publisher sent nothing.
                    "still": is_video && frame.sample.disposable,
                })
            })
            .collect();
        renditions.push(json!({
            "url": url,
            "video": is_video,
            "timescale": window.inits.values().next().map(|(_, init)| init.timescale),
            "holes": contiguous,
            "discontinuities": window.playlist.discontinuities(),
            "ended": window.playlist.ended,
            "frames": frames,
        }));
    }
    #[expect(clippy::print_stdout, reason = "the output is the product")]
    {
        println!("{}", json!({ "renditions": renditions }));
    }
    Ok(())
}
