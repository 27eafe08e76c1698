//! What the webhook has said and is being asked: players ask ten times a second, and it is asked once for all that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_shared::auth::Act;
use bicast_shared::clock;
use bicast_shared::id::FeedId;
use parking_lot::Mutex;

/// How long an answer about HLS holds. One about WebRTC holds for a session.
const YES_HOLDS: Duration = Duration::from_secs(30);
const NO_HOLDS: Duration = Duration::from_secs(5);
/// That nobody answers is believed for this long: long enough that a webhook that hangs is not asked by every request, and a player, which tries
/// again after a second or two, hardly waits longer for one that is back.
const UNDECIDED_HOLDS: Duration = Duration::from_secs(2);
/// The most answers that are kept.
const MOST: usize = 100_000;

/// What a decision is about: the viewer, the token, what it wants, of which feed, and until when.
pub(super) type About = (Option<String>, Option<String>, Act, FeedId, i64);

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    /// And why.
    No(String),
    /// Nothing that can be used.
    Undecided,
}

impl Answer {
    const fn holds(&self) -> Duration {
        match self {
            Self::Yes => YES_HOLDS,
            Self::No(_) => NO_HOLDS,
            Self::Undecided => UNDECIDED_HOLDS,
        }
    }
}

/// Answers that still hold.
#[derive(Default)]
struct Answers(HashMap<About, (Instant, Answer)>);

impl Answers {
    fn get(&self, now: Instant, about: &About) -> Option<Answer> {
        let (until, answer) = self.0.get(about)?;
        (now < *until).then(|| answer.clone())
    }

    fn put(&mut self, now: Instant, about: About, answer: Answer) {
        if self.0.len() >= MOST {
            self.0.retain(|_, (until, _)| now < *until);
        }
        if self.0.len() < MOST {
            let until = now + answer.holds();
            self.0.insert(about, (until, answer));
        }
    }
}

/// Who asks holds it; the others about the same wait for it. As many as there are requests under way.
type Gate = Arc<tokio::sync::Mutex<()>>;

/// Answers, and the questions that are under way.
#[derive(Default)]
pub(super) struct Asked {
    answers: Mutex<Answers>,
    under_way: Mutex<HashMap<About, Gate>>,
}

impl Asked {
    /// The answer, if it still holds; otherwise what `ask` brings, once for all who want to know the same meanwhile. Who asks may give up: the
    /// next one does it then.
    pub(super) async fn once(&self, about: About, ask: impl Future<Output = Answer>) -> Answer {
        let known = || self.answers.lock().get(clock::now(), &about);
        if let Some(answer) = known() {
            return answer;
        }
        let turn = Turn { asked: self, about: &about, gate: self.gate(&about) };
        let _held = turn.gate.lock().await;
        if let Some(answer) = known() {
            return answer;
        }
        let answer = ask.await;
        self.answers.lock().put(clock::now(), about.clone(), answer.clone());
        answer
    }

    fn gate(&self, about: &About) -> Gate {
        Arc::clone(self.under_way.lock().entry(about.clone()).or_default())
    }
}

/// One request's turn at a question. The last one takes the gate away.
struct Turn<'a> {
    asked: &'a Asked,
    about: &'a About,
    gate: Gate,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut under_way = self.asked.under_way.lock();
        // The map's and this one: counted under the lock under which others take theirs.
        if Arc::strong_count(&self.gate) == 2 {
            under_way.remove(self.about);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn about(viewer: usize) -> About {
        (Some(viewer.to_string()), None, Act::WatchHls, "demo".parse::<FeedId>().unwrap(), 5)
    }

    #[test]
    fn answers_hold_for_a_while_and_are_bounded() {
        let mut answers = Answers::default();
        let start = clock::now();
        let no = || Answer::No("not paid".into());
        answers.put(start, about(1), Answer::Yes);
        answers.put(start, about(2), no());
        answers.put(start, about(3), Answer::Undecided);
        assert_eq!(answers.get(start + NO_HOLDS / 2, &about(2)), Some(no()));
        assert_eq!(answers.get(start + NO_HOLDS, &about(2)), None);
        assert_eq!(answers.get(start + NO_HOLDS, &about(1)), Some(Answer::Yes));
        assert_eq!(answers.get(start + YES_HOLDS, &about(1)), None);
        assert_eq!(answers.get(start + UNDECIDED_HOLDS / 2, &about(3)), Some(Answer::Undecided));
        assert_eq!(answers.get(start + UNDECIDED_HOLDS, &about(3)), None, "it may be back");
        (0..MOST + 5).for_each(|n| answers.put(start, about(n), Answer::Yes));
        assert_eq!(answers.0.len(), MOST);
        answers.put(start + YES_HOLDS, about(MOST + 9), Answer::Yes);
        assert_eq!(answers.0.len(), 1, "what holds no more makes room");
    }

    #[tokio::test]
    async fn a_webhook_that_hangs_is_asked_once_however_many_want_to_know() {
        let (asked, questions) = (Arc::new(Asked::default()), Arc::new(AtomicU32::new(0)));
        let hangs = |viewer: usize| {
            let (asked, questions) = (Arc::clone(&asked), Arc::clone(&questions));
            tokio::spawn(async move {
                let ask = async {
                    questions.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Answer::Undecided
                };
                asked.once(about(viewer), ask).await
            })
        };
        let all: Vec<_> = (0..100).map(|n| hangs(n % 2)).collect();
        for one in all {
            assert_eq!(one.await.unwrap(), Answer::Undecided);
        }
        assert_eq!(hangs(1).await.unwrap(), Answer::Undecided, "nor is it again at once");
        assert_eq!(questions.load(Ordering::SeqCst), 2, "one for each viewer");
        assert!(asked.under_way.lock().is_empty());
    }

    #[tokio::test]
    async fn who_gives_up_while_it_asks_leaves_the_question_to_the_next() {
        let asked = Arc::new(Asked::default());
        let first = {
            let asked = Arc::clone(&asked);
            tokio::spawn(async move { asked.once(about(1), std::future::pending()).await })
        };
        while asked.under_way.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(asked.once(about(1), async { Answer::Yes }).await, Answer::Yes);
        assert!(asked.under_way.lock().is_empty());
    }
}
