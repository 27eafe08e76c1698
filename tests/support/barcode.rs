//! The frame number in the picture: 20 boxes along the top rows, the lowest bit first, and one that is always white. A
//! box is 48 pixels wide and high where the picture is wide enough, else an even share of the width. Read from what a
//! decoder makes of a stream, so it also shows that the stream decodes.

use std::process::Command;

use anyhow::Context as _;

use crate::hls::Window;
use crate::process;

/// Bits of the number.
pub const BITS: usize = 20;
/// Boxes: the bits and the one that is always white.
const BOXES: usize = BITS + 1;
/// The strip with one pixel a box. A second between frames, whatever their times were: the output has none, and ffmpeg
/// complains where jitter brings two frames into one tick.
const STRIP: &str = "crop=w='21*min(48,floor(iw/42)*2)':h='min(48,floor(iw/42)*2)':x=0:y=0,format=gray,scale=21:1:flags=area,setpts=N/TB";

/// Decodes a stream (init segment and fragments, or anything else that ffmpeg plays) and reads the number of every
/// frame in the order of presentation. `None` where the picture has no barcode.
///
/// # Errors
/// Where ffmpeg cannot decode it without a complaint, or not in a minute.
pub fn read(stream: &[u8]) -> anyhow::Result<Vec<Option<u32>>> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-hide_banner", "-loglevel", "error", "-threads", "1", "-i", "pipe:0", "-map", "0:v:0"])
        .args(["-vf", STRIP, "-fps_mode", "passthrough"])
        .args(["-f", "rawvideo", "pipe:1"]);
    let output = process::run(&mut ffmpeg, stream)?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success() && complaint.is_empty(), "ffmpeg complains: {complaint}");
    Ok(output.stdout.chunks_exact(BOXES).map(number).collect())
}

/// The number of every frame of a window, in the window's (decode) order. Each init segment's frames are decoded as a
/// stream of their own.
///
/// # Errors
/// Where they do not all decode.
pub fn of_window(window: &Window) -> anyhow::Result<Vec<Option<u32>>> {
    let mut numbers = vec![None; window.frames.len()];
    let mut begin = 0;
    while begin < window.frames.len() {
        let map = &window.frames[begin].map;
        let run = window.frames[begin..].iter().take_while(|frame| frame.map == *map).count();
        let frames = &window.frames[begin..begin + run];
        let (init, _) = window.inits.get(map).context("frames without their init segment")?;
        let mut stream = init.to_vec();
        for piece in window
            .pieces
            .iter()
            .filter(|piece| piece.frames.start >= begin && piece.frames.end <= begin + run)
        {
            stream.extend_from_slice(&piece.bytes);
        }
        let read = read(&stream)?;
        anyhow::ensure!(read.len() == run, "{run} frames were sent, {} were decoded", read.len());
        // The decoder gives them in the order of presentation. A still frame follows the picture that it repeats, also where
        // a later picture arrived so late that its time lies before the still frame's.
        let mut place = i64::MIN;
        let mut shown: Vec<(i64, usize)> = Vec::new();
        for (n, frame) in frames.iter().enumerate() {
            if !frame.sample.disposable {
                place = frame.sample.presentation;
            }
            shown.push((place, n));
        }
        shown.sort_unstable();
        for (number, (_, n)) in read.into_iter().zip(shown) {
            numbers[begin + n] = number;
        }
        begin += run;
    }
    Ok(numbers)
}

/// The number in a row of boxes, each given as its mean brightness.
fn number(boxes: &[u8]) -> Option<u32> {
    // The last box is always white: a picture without it has no barcode.
    if boxes[BITS] < 160 {
        return None;
    }
    Some(boxes[..BITS].iter().enumerate().map(|(bit, &level)| u32::from(level > 128) << bit).sum())
}
