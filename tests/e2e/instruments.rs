//! The tests' own instruments against somebody else's: a measure that is wrong would make every test worthless.

use std::process::Command;

use bicast_tests::{asset, barcode, cmaf, process};
use bytes::Bytes;

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = process::run(Command::new(program).args(arguments), &[]).unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// ffmpeg fragments a clip with B-frames; our reader and ffprobe have to agree on every frame of it.
#[test]
fn the_cmaf_reader_agrees_with_ffprobe() {
    let clip = asset("small-bframes.mp4").unwrap();
    let folder = bicast_tests::root().join("target/test-logs");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("fragmented.mp4");
    let flags = "frag_keyframe+empty_moov+default_base_moof+negative_cts_offsets";
    let (from, to) = (clip.to_str().unwrap(), file.to_str().unwrap());
    run(
        "ffmpeg",
        &["-y", "-loglevel", "error", "-i", from, "-c", "copy", "-use_editlist", "0", "-movflags", flags, to],
    );
    let bytes = Bytes::from(std::fs::read(&file).unwrap());
    let init = cmaf::init(&bytes).unwrap();
    assert_eq!(init.sample_entry, "avc1");
    let ours: Vec<(i64, usize)> =
        cmaf::samples(&init, &bytes).unwrap().iter().map(|s| (s.presentation, s.data.len())).collect();
    let theirs = run("ffprobe", &["-v", "error", "-show_entries", "packet=pts,size", "-of", "csv=p=0", to]);
    let theirs: Vec<(i64, usize)> = String::from_utf8(theirs)
        .unwrap()
        .lines()
        .map(|line| {
            let mut fields = line.split(',');
            (fields.next().unwrap().parse().unwrap(), fields.next().unwrap().parse().unwrap())
        })
        .collect();
    assert!(ours.len() >= 599, "{} frames", ours.len());
    assert_eq!(ours.len(), theirs.len());
    // ffprobe moves all times so that none is negative: compare them from the first frame on.
    for (n, (ours, theirs)) in ours
        .iter()
        .map(|(t, s)| (t - ours[0].0, s))
        .zip(theirs.iter().map(|(t, s)| (t - theirs[0].0, s)))
        .enumerate()
    {
        assert_eq!(ours, theirs, "frame {n}");
    }
}

/// ffmpeg draws numbers at three sizes, low bitrate; the reader has to find each.
#[test]
fn the_barcode_reader_reads_what_ffmpeg_draws() {
    for (width, height) in [(1280, 720), (640, 360), (320, 180)] {
        let side = (width / 42 * 2).min(48);
        let mut filter = format!("drawbox=0:0:{width}:{side}:black:fill");
        for bit in 0..barcode::BITS {
            let x = bit * side;
            // 1000 is added so that high bits are exercised, too.
            let on = format!("mod(floor((n+1000)/{}),2)", 1 << bit);
            filter += &format!(",drawbox={x}:0:{side}:{side}:white:fill:enable='{on}'");
        }
        filter += &format!(",drawbox={}:0:{side}:{side}:white:fill", barcode::BITS * side);
        let source = format!("testsrc2=size={width}x{height}:rate=30:duration=1");
        let stream = run(
            "ffmpeg",
            &[
                "-loglevel",
                "error",
                "-f",
                "lavfi",
                "-i",
                &source,
                "-vf",
                &filter,
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-b:v",
                "200k",
                "-f",
                "h264",
                "-",
            ],
        );
        let numbers = barcode::read(&stream).unwrap();
        let wanted: Vec<Option<u32>> = (1_000..1_030).map(Some).collect();
        assert_eq!(numbers, wanted, "at {width}x{height}");
    }
}

/// A picture without a barcode has no number.
#[test]
fn the_barcode_reader_finds_nothing_where_nothing_is() {
    let arguments =
        ["-loglevel", "error", "-f", "lavfi", "-i", "color=0x303030:size=640x360:rate=30:duration=1"];
    let stream = run(
        "ffmpeg",
        &[&arguments[..], &["-c:v", "libx264", "-preset", "ultrafast", "-f", "h264", "-"]].concat(),
    );
    assert_eq!(barcode::read(&stream).unwrap(), vec![None; 30]);
}
