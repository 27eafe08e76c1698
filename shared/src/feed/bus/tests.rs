//! Publishers and readers on a real runtime.

use bytes::Bytes;

use super::*;
use crate::id::{Epoch, RenditionId};
use crate::media::Codec;
use crate::time::ClockRate;

const VIDEO: StreamKey = StreamKey::new(TrackId(0), RenditionId(0));

fn tracks() -> Vec<TrackInfo> {
    vec![TrackInfo::single(VIDEO.track, Codec::H264, ClockRate::VIDEO, 0, String::new())]
}

fn publisher() -> PublisherInfo {
    PublisherInfo { protocol: "test".into(), agent: None, address: None, since: clock::utc() }
}

fn bus(grace: Duration, packets: usize) -> FeedBus {
    let settings = FeedSettings { publisher_grace: grace, ..FeedSettings::default() };
    FeedBus::new(settings, RingLimits { packets, bytes: 1 << 20, ..RingLimits::default() })
}

fn id() -> FeedId {
    "demo".parse().unwrap()
}

fn send(publisher: &mut FeedPublisher, n: u16, payload: &'static [u8]) {
    let input = RtpInput {
        sequence_number: n,
        timestamp: u32::from(n) * 3_000,
        marker: true,
        payload: Bytes::from_static(payload),
        orientation: None,
        composition_offset: None,
    };
    publisher.rtp(clock::now(), VIDEO, input);
}

#[tokio::test(start_paused = true)]
async fn packets_reach_every_reader_and_the_end_is_told() {
    let bus = bus(Duration::from_secs(30), 100);
    let mut publisher = bus.publish(&id(), tracks(), publisher()).unwrap();
    let feed = bus.feed(&id()).unwrap();
    let mut early = feed.subscribe(VIDEO, StartAt::Newest).unwrap();
    send(&mut publisher, 0, &[0x65]);
    send(&mut publisher, 1, &[0x61]);
    let mut late = feed.subscribe(VIDEO, StartAt::Keyframe).unwrap();
    let mut newest = feed.subscribe(VIDEO, StartAt::Newest).unwrap();
    send(&mut publisher, 2, &[0x61]);
    for (reader, expected) in [(&mut early, 3), (&mut late, 3), (&mut newest, 1)] {
        let mut packets = Vec::new();
        assert_eq!(reader.read(&mut packets, 100).await, Ok(expected));
        assert_eq!(packets.last().unwrap().stamp.sequence, 2);
    }
    assert_eq!(feed.info().state, FeedState::Live);
    let waiting = tokio::spawn(async move { early.read(&mut Vec::new(), 1).await });
    tokio::task::yield_now().await;
    assert!(bus.end(&id()));
    assert_eq!(waiting.await.unwrap(), Err(Ended));
    assert_eq!(publisher.upstream().await, Upstream::Leave);
    assert!(bus.feed(&id()).is_none());
    assert!(!bus.end(&id()));
}

#[tokio::test(start_paused = true)]
async fn one_publisher_at_a_time_and_a_returning_one_begins_the_next_epoch() {
    let bus = bus(Duration::from_secs(30), 100);
    let mut first = bus.publish(&id(), tracks(), publisher()).unwrap();
    let mut reader = bus.feed(&id()).unwrap().subscribe(VIDEO, StartAt::Newest).unwrap();
    assert_eq!(bus.publish(&id(), tracks(), publisher()).err(), Some(PublishError::AlreadyPublished));
    send(&mut first, 0, &[0x65]);
    drop(first);
    assert_eq!(bus.feed(&id()).unwrap().info().state, FeedState::Offline);
    tokio::time::sleep(Duration::from_secs(29)).await;
    let mut second = bus.publish(&id(), tracks(), publisher()).unwrap();
    tokio::time::sleep(Duration::from_secs(29)).await;
    send(&mut second, 7, &[0x65]);
    let mut packets = Vec::new();
    while packets.len() < 2 {
        reader.read(&mut packets, 100).await.unwrap();
    }
    assert_eq!(packets[1].stamp.epoch, Epoch(1));
    assert_eq!(packets[1].stamp.sequence, 1, "the reader lived through the epochs");
}

#[tokio::test]
async fn a_standby_publisher_takes_over_from_a_silent_one_or_when_it_is_told() {
    let bus = bus(Duration::from_secs(30), 100);
    assert!(bus.stand_by(&id(), publisher()).is_none(), "nobody to wait for");
    let mut first = bus.publish(&id(), tracks(), publisher()).unwrap();
    let feed = bus.feed(&id()).unwrap();
    let mut reader = feed.subscribe(VIDEO, StartAt::Newest).unwrap();
    send(&mut first, 0, &[0x65]);

    let mut standby = bus.stand_by(&id(), publisher()).unwrap();
    assert!(feed.info().standby.is_some());
    assert!(tokio::time::timeout(Duration::from_millis(150), standby.ready()).await.is_err(), "not its turn");
    assert_eq!(bus.promote(&id()), Some(true));
    assert!(standby.ready().await);
    let mut second = standby.take_over(tracks()).unwrap();
    drop(standby);
    assert_eq!((feed.info().epoch, feed.info().state), (Epoch(1), FeedState::Starting));
    assert!(feed.info().standby.is_none());
    send(&mut second, 7, &[0x65]);
    send(&mut first, 1, &[0x61]);
    assert_eq!(first.upstream().await, Upstream::Displaced);
    drop(first);
    assert_eq!(feed.info().state, FeedState::Live, "who was displaced cannot end the epoch");
    let mut packets = Vec::new();
    assert_eq!(reader.read(&mut packets, 100).await, Ok(2));
    assert_eq!((packets[1].stamp.epoch, packets[1].stamp.sequence), (Epoch(1), 1));

    let mut third = bus.stand_by(&id(), publisher()).unwrap();
    assert!(third.ready().await, "the second has been silent for a second");
    drop(third);
    assert_eq!(bus.promote(&id()), Some(false));
    let mut fourth = bus.stand_by(&id(), publisher()).unwrap();
    bus.end(&id());
    assert!(!fourth.ready().await && fourth.take_over(tracks()).is_none());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_units_is_not_woken_by_pieces() {
    let bus = bus(Duration::from_secs(30), 100);
    let mut publisher = bus.publish(&id(), tracks(), publisher()).unwrap();
    let feed = bus.feed(&id()).unwrap();
    send(&mut publisher, 0, &[0x65]);
    let mut reader = feed.subscribe(VIDEO, StartAt::Newest).unwrap();
    let piece = |marker| RtpInput {
        sequence_number: if marker { 2 } else { 1 },
        timestamp: 3_000,
        marker,
        payload: Bytes::from_static(&[0x61]),
        orientation: None,
        composition_offset: None,
    };
    publisher.rtp(clock::now(), VIDEO, piece(false));
    assert!(tokio::time::timeout(Duration::from_secs(1), reader.unit()).await.is_err());
    publisher.rtp(clock::now(), VIDEO, piece(true));
    assert_eq!(reader.unit().await, Ok(()));
    let mut packets = Vec::new();
    assert_eq!(reader.try_read(&mut packets, 100), 2);
    assert!(tokio::time::timeout(Duration::from_secs(1), reader.unit()).await.is_err(), "it was read");
    bus.end(&id());
    assert_eq!(reader.unit().await, Err(Ended));
}

#[tokio::test(start_paused = true)]
async fn a_feed_without_a_publisher_ends_after_the_grace_period() {
    let bus = bus(Duration::from_secs(30), 100);
    let first = bus.publish(&id(), tracks(), publisher()).unwrap();
    let mut watch = bus.feed(&id()).unwrap().watch();
    drop(first);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(bus.feed(&id()).is_none());
    assert_eq!(watch.borrow_and_update().state, FeedState::Ended);
    assert!(bus.publish(&id(), tracks(), publisher()).is_ok(), "the id is free");
}

#[tokio::test]
async fn a_keyframe_is_asked_for_before_a_join_where_the_group_is_long_and_then_seldom() {
    let bus = bus(Duration::from_secs(30), 1_000);
    let mut publisher = bus.publish(&id(), tracks(), publisher()).unwrap();
    let feed = bus.feed(&id()).unwrap();
    send(&mut publisher, 0, &[0x65]);
    let answers = |rule| {
        let mut info = FeedInfo::clone(&feed.info());
        info.cadence.rule = rule;
        feed.0.info.send_replace(Arc::new(info));
    };
    let asked = || std::mem::take(&mut *feed.0.wanted.lock());
    let now = clock::now();
    (1..20).for_each(|n| send(&mut publisher, n, &[0x61]));
    answers(CadenceRule::OnRequest);
    feed.expect_join(now, VIDEO);
    assert_eq!(asked(), [], "0.6 s are short");
    (20..40).for_each(|n| send(&mut publisher, n, &[0x61]));
    answers(CadenceRule::SelfPaced);
    feed.expect_join(now, VIDEO);
    assert_eq!(asked(), [], "a deaf publisher is not asked");
    answers(CadenceRule::OnRequest);
    for (ms, expected) in [(0, 1), (10, 0), (1_999, 0), (2_000, 1)] {
        feed.expect_join(now + Duration::from_millis(ms), VIDEO);
        assert_eq!(asked().len(), expected, "after {ms} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_bus_ends_its_feeds_and_takes_no_more() {
    let bus = bus(Duration::from_secs(30), 100);
    let mut first = bus.publish(&id(), tracks(), publisher()).unwrap();
    assert_eq!(bus.close(), 1);
    assert_eq!(first.upstream().await, Upstream::Leave);
    assert_eq!(bus.publish(&id(), tracks(), publisher()).err(), Some(PublishError::Closed));
    assert!(bus.feeds().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_grace_period_of_an_ended_feed_does_not_end_its_successor() {
    let bus = bus(Duration::from_secs(30), 100);
    drop(bus.publish(&id(), tracks(), publisher()).unwrap());
    assert!(bus.end(&id()));
    let _successor = bus.publish(&id(), tracks(), publisher()).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(bus.feed(&id()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_lags_loses_its_own_packets_only() {
    let bus = bus(Duration::from_secs(30), 8);
    let mut publisher = bus.publish(&id(), tracks(), publisher()).unwrap();
    let feed = bus.feed(&id()).unwrap();
    let mut slow = feed.subscribe(VIDEO, StartAt::Newest).unwrap();
    let mut quick = feed.subscribe(VIDEO, StartAt::Newest).unwrap();
    let mut packets = Vec::new();
    for n in 0..20 {
        send(&mut publisher, n, if n == 15 { &[0x65] } else { &[0x61] });
        quick.try_read(&mut packets, 100);
    }
    assert_eq!((packets.len(), quick.lost()), (20, 0));
    packets.clear();
    slow.try_read(&mut packets, 100);
    assert_eq!(packets.first().unwrap().stamp.sequence, 15);
    assert!(packets[0].stamp.keyframe);
    assert_eq!((slow.lost(), feed.lagged()), (15, 15));
}

#[tokio::test(start_paused = true)]
async fn keyframe_requests_travel_upstream_once() {
    let bus = bus(Duration::from_secs(30), 8);
    let mut publisher = bus.publish(&id(), tracks(), publisher()).unwrap();
    let feed = bus.feed(&id()).unwrap();
    send(&mut publisher, 0, &[0x65]);
    for _ in 0..50 {
        feed.request_keyframe(VIDEO.track);
    }
    assert_eq!(publisher.upstream().await, Upstream::Keyframe(vec![VIDEO.track]));
    send(&mut publisher, 1, &[0x65]);
    let nothing = tokio::time::timeout(Duration::from_millis(50), publisher.upstream()).await;
    assert!(nothing.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_newest_packets_time_is_told_to_who_does_not_read() {
    let bus = bus(Duration::from_secs(30), 2);
    let mut publisher = bus.publish(&id(), tracks(), publisher()).unwrap();
    let feed = bus.feed(&id()).unwrap();
    assert_eq!(feed.newest(VIDEO), None);
    let mut reader = feed.subscribe(VIDEO, StartAt::Newest).unwrap();
    for n in 0..5 {
        send(&mut publisher, n, &[0x65]);
    }
    let mut packets = Vec::new();
    reader.read(&mut packets, 100).await.unwrap();
    assert_eq!(feed.newest(VIDEO), Some(packets.last().unwrap().stamp.media_time));
    assert_eq!(feed.newest(StreamKey::new(TrackId(9), RenditionId(0))), None);
}

#[tokio::test(start_paused = true)]
async fn a_feed_of_another_process_waits_for_its_publisher_and_ends_when_none_comes() {
    use crate::feed::past::{FeedPast, Resumption};
    use crate::id::{Epoch, SegmentNumber};

    let bus = bus(Duration::from_secs(30), 100);
    let mut first = bus.publish(&id(), tracks(), publisher()).unwrap();
    send(&mut first, 0, b"\x65");
    let past = FeedPast::of(&bus.feed(&id()).unwrap().info()).unwrap();
    let resumption = Resumption { past, next_segment: SegmentNumber(9), edge_nanos: 0 };
    assert!(!bus.resume(resumption.clone()), "it is there");
    bus.end(&id());
    assert!(bus.resume(resumption.clone()));
    let feed = bus.feed(&id()).unwrap();
    assert_eq!((feed.info().state, feed.info().publisher.is_none()), (FeedState::Offline, true));
    tokio::time::sleep(Duration::from_secs(29)).await;
    let returned = bus.publish(&id(), tracks(), publisher()).unwrap();
    assert!(returned.feed().is_same(&feed) && feed.info().epoch == Epoch(1));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(bus.feed(&id()).is_some(), "it came in time");
    bus.end(&id());
    assert!(bus.resume(resumption));
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(bus.feed(&id()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_is_made_stays_until_it_is_ended() {
    let bus = bus(Duration::from_secs(5), 100);
    let settings = FeedSettings { window: Duration::from_secs(60), ..bus.settings_of(&id()) };
    let feed = bus.create(&id(), settings.clone(), 2).unwrap();
    let info = feed.info();
    assert_eq!((info.state, info.is_kept, &*info.settings), (FeedState::Offline, true, &settings));
    assert_eq!(bus.create(&id(), settings.clone(), 2).err(), Some(CreateError::Exists));
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    for epoch in 0..2 {
        let mut published = bus.publish(&id(), tracks(), publisher()).unwrap();
        assert!(published.feed().is_same(&feed), "not another one");
        send(&mut published, 0, &[0x65]);
        assert_eq!((feed.info().state, feed.info().epoch), (FeedState::Live, Epoch(epoch)));
        drop(published);
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert_eq!(feed.info().state, FeedState::Offline);
    }
    let other = |name: &str| bus.create(&name.parse().unwrap(), settings.clone(), 2).err();
    let _published = bus.publish(&"published".parse().unwrap(), tracks(), publisher()).unwrap();
    assert_eq!(other("second"), None, "what is published by itself does not count");
    assert_eq!(other("third"), Some(CreateError::TooMany));
    assert!(bus.end(&id()));
    assert_eq!(other("third"), None);
    bus.close();
    assert_eq!(other("fourth"), Some(CreateError::Closed));
}

#[tokio::test(start_paused = true)]
async fn settings_are_changed_while_a_feed_is_there() {
    let bus = bus(Duration::from_secs(5), 100);
    let grace = |seconds| {
        move |settings: &FeedSettings| {
            let publisher_grace = Duration::from_secs(seconds);
            Ok::<_, ()>(FeedSettings { publisher_grace, ..settings.clone() })
        }
    };
    assert!(bus.update(&id(), grace(60)).is_none());
    let published = bus.publish(&id(), tracks(), publisher()).unwrap();
    let feed = published.feed().clone();
    assert_eq!(bus.update(&id(), |_| Err("no")), Some(Err("no")));
    assert_eq!(feed.info().settings.publisher_grace, Duration::from_secs(5));
    assert_eq!(bus.update(&id(), grace(60)), Some(Ok(())));
    drop(published);
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(feed.info().state, FeedState::Offline);
    // While it waits: all of the new one from now on, longer or shorter.
    assert_eq!(bus.update(&id(), grace(30)), Some(Ok(())));
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(feed.info().state, FeedState::Offline);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(feed.info().state, FeedState::Ended);
    assert!(bus.update(&id(), grace(60)).is_none());
}
