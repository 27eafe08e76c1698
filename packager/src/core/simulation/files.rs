//! What comes out is given to ffmpeg, an independent reader, where it is installed (the set-up of the tests installs it).

use std::io::Write;
use std::process::{Command, Stdio};

use super::publisher::{BASELINE, Publisher};
use super::{Session, tracks};
use crate::core::cmaf::SampleKind;
use crate::core::cmaf::probe;
use bicast_shared::media::Codec;

/// Runs a program over a file of init and segments; what it prints. None where it is not installed.
pub(super) fn run(program: &str, arguments: &[&str], file: &[u8]) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take().unwrap();
    let bytes = file.to_vec();
    let writer = std::thread::spawn(move || drop(input.write_all(&bytes)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "no complaint from the decoder");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Init and all segments of a rendition as one file.
pub(super) fn file(session: &Session, rendition: usize) -> Vec<u8> {
    let snapshot = session.core.snapshot();
    let rendition = &snapshot.renditions[rendition];
    let mut file = rendition.segments[0].head.init.data.to_vec();
    for segment in rendition.segments.iter().filter(|segment| segment.complete) {
        file.extend_from_slice(&segment.data);
    }
    file
}

fn presentations(file: &[u8]) -> Vec<i64> {
    let mut times: Vec<i64> =
        probe::samples(file).unwrap().iter().map(|sample| sample.presentation).collect();
    times.sort_unstable();
    times
}

fn ffprobe(file: &[u8]) -> Option<Vec<i64>> {
    let arguments = ["-v", "error", "-show_entries", "frame=pts", "-of", "csv=p=0", "-"];
    let text = run("ffprobe", &arguments, file)?;
    Some(text.lines().filter_map(|line| line.split(',').next()?.parse().ok()).collect())
}

/// Every picture that ffmpeg decodes: when it is shown, and its checksum.
fn pictures(file: &[u8]) -> Option<Vec<(i64, String)>> {
    let arguments = [
        "-v",
        "error",
        "-copyts",
        "-i",
        "-",
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        "-1",
        "-f",
        "framemd5",
        "-",
    ];
    let text = run("ffmpeg", &arguments, file)?;
    let frames = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        (fields[2].parse().unwrap(), fields[5].to_owned())
    });
    Some(frames.collect())
}

/// What ffprobe says of a file of sound: codec, rate, channels, time base. None where it is not there.
pub(super) fn sound(file: &[u8]) -> Option<String> {
    let shown = "stream=codec_name,channels,sample_rate,time_base";
    let text = run("ffprobe", &["-v", "error", "-show_entries", shown, "-of", "csv=p=0", "-"], file)?;
    Some(text.trim().to_owned())
}

#[test]
fn ffmpeg_decodes_every_frame_at_its_media_time() {
    for mut publisher in [Publisher::new(BASELINE, 30.0), Publisher::with_b_frames()] {
        let mut session = Session::new();
        session.begin_epoch(tracks(Some(Codec::H264), false));
        publisher.audio = false;
        session.run(&mut publisher, 9_000);
        session.end();
        let file = file(&session, 0);
        let Some(decoded) = ffprobe(&file) else { return };
        assert_eq!(decoded, presentations(&file));
    }
}

#[test]
fn ffmpeg_decodes_still_frames_and_what_follows_them() {
    let mut session = Session::new();
    session.begin_epoch(tracks(Some(Codec::H264), false));
    let mut publisher = Publisher::new(BASELINE, 30.0);
    publisher.audio = false;
    publisher.pause = |millis| millis > 3_000 && millis % 1_000 > 500;
    session.run(&mut publisher, 9_000);
    session.end();
    let file = file(&session, 0);
    let samples = probe::samples(&file).unwrap();
    let stills = samples.iter().filter(|sample| sample.kind == SampleKind::Disposable).count();
    assert!(stills >= 6, "{stills}");
    // Pictures of a moving pattern differ; the still ones are the same as the picture before them.
    let Some(pictures) = pictures(&file) else { return };
    let mut stands = 0;
    for pair in samples.windows(2).filter(|pair| pair[1].kind == SampleKind::Disposable) {
        let md5 =
            |presentation: i64| pictures.iter().find(|(pts, _)| *pts == presentation).map(|(_, md5)| md5);
        if let (Some(before), Some(still)) = (md5(pair[0].presentation), md5(pair[1].presentation)) {
            assert_eq!(before, still);
            stands += 1;
        }
    }
    assert!(stands > 0);
    let own = samples.iter().filter(|sample| sample.kind.is_original());
    assert!(own.clone().all(|sample| pictures.iter().any(|(pts, _)| *pts == sample.presentation)));
}

#[test]
fn ffmpeg_decodes_a_keyframe_that_is_written_again_as_it_was() {
    let mut session = Session::new();
    session.begin_epoch(tracks(Some(Codec::H264), true));
    let mut publisher = Publisher::new(BASELINE, 30.0);
    publisher.pause = |millis| (4_000..14_000).contains(&millis);
    session.run(&mut publisher, 20_000);
    session.end();
    let file = file(&session, 0);
    let samples = probe::samples(&file).unwrap();
    let repeated = samples.iter().filter(|sample| sample.kind == SampleKind::Repeated).count();
    assert!(repeated >= 4, "{repeated}");
    let Some(pictures) = pictures(&file) else { return };
    assert_eq!(pictures.len(), samples.len(), "each is shown");
    let md5 = |presentation: i64| &pictures.iter().find(|(pts, _)| *pts == presentation).unwrap().1;
    let mut keyframe = None;
    for sample in &samples {
        match sample.kind {
            SampleKind::Sync => keyframe = Some(md5(sample.presentation)),
            SampleKind::Repeated => assert_eq!(Some(md5(sample.presentation)), keyframe),
            SampleKind::Dependent | SampleKind::Disposable => {}
        }
    }
}

#[test]
fn ffmpeg_reads_the_sound() {
    let mut session = Session::new();
    session.begin_epoch(tracks(Some(Codec::H264), true));
    session.run(&mut Publisher::new(BASELINE, 30.0), 6_000);
    session.end();
    let Some(text) = sound(&file(&session, 1)) else { return };
    assert_eq!(text, "opus,48000,2,1/48000");
}
