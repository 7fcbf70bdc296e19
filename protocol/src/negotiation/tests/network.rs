//! Two sides over a network that loses, repeats and reorders.

use proptest::collection::vec;
use proptest::prelude::*;

use super::steps::{assert_same, replayed};
use super::*;

/// The most rounds of a network that has become reliable.
const MAX_ROUNDS: usize = 2 * MAX_MESSAGES;

#[derive(Clone, Copy, Debug)]
enum Action {
    /// Some message on the way arrives.
    Deliver(usize),
    /// Some message on the way arrives and stays on the way.
    Repeat(usize),
    /// Some message on the way is lost.
    Lose(usize),
    /// A side sends again what was not answered.
    Retry(Side),
    /// A side takes its next step; a person's choice is the number.
    Step(Side, u8),
    /// A side's process dies; its journal is read again.
    Restart(Side),
}

fn action() -> impl Strategy<Value = Action> {
    let side = || prop_oneof![Just(Side::Provider), Just(Side::Consumer)];
    prop_oneof![
        6 => any::<usize>().prop_map(Action::Deliver),
        2 => any::<usize>().prop_map(Action::Repeat),
        2 => any::<usize>().prop_map(Action::Lose),
        2 => side().prop_map(Action::Retry),
        5 => (side(), any::<u8>()).prop_map(|(side, choice)| Action::Step(side, choice)),
        1 => side().prop_map(Action::Restart),
    ]
}

struct Network {
    world: World,
    /// Absent until the first request arrives.
    provider: Option<Negotiation>,
    consumer: Negotiation,
    on_the_way: Vec<(Side, String)>,
}

impl Network {
    fn new() -> Self {
        let world = World::new();
        let (consumer, text) = Negotiation::request(
            ID,
            world.consumer.org,
            world.provider.org,
            proposing(access(&["temp", "wind"]), ""),
            NOW,
            &world.consumer.agree,
        )
        .unwrap();
        Self {
            world,
            provider: None,
            consumer,
            on_the_way: vec![(Side::Provider, text)],
        }
    }

    fn act(&mut self, action: Action) {
        let pick = |n: usize, len: usize| (len > 0).then(|| n % len.max(1));
        let len = self.on_the_way.len();
        match action {
            Action::Deliver(n) => {
                if let Some(i) = pick(n, len) {
                    let (to, text) = self.on_the_way.swap_remove(i);
                    self.arrive(to, &text);
                }
            }
            Action::Repeat(n) => {
                if let Some(i) = pick(n, len) {
                    let (to, text) = self.on_the_way[i].clone();
                    self.arrive(to, &text);
                }
            }
            Action::Lose(n) => {
                if let Some(i) = pick(n, len) {
                    self.on_the_way.swap_remove(i);
                }
            }
            Action::Retry(side) => {
                let texts = self.side(side).map(|n| n.unanswered()).unwrap_or_default();
                self.send(side, texts);
            }
            Action::Step(side, choice) => self.step(side, choice),
            Action::Restart(Side::Consumer) => {
                self.consumer = replayed(self.world.consumer.org, &self.consumer);
            }
            Action::Restart(Side::Provider) => {
                let own = self.world.provider.org;
                self.provider = self.provider.as_ref().map(|n| replayed(own, n));
            }
        }
    }

    fn side(&mut self, side: Side) -> Option<&mut Negotiation> {
        match side {
            Side::Provider => self.provider.as_mut(),
            Side::Consumer => Some(&mut self.consumer),
        }
    }

    fn send(&mut self, from: Side, texts: Vec<String>) {
        let messages = texts.into_iter().map(|text| (from.other(), text));
        self.on_the_way.extend(messages);
    }

    /// What is refused is dropped: the other side sends it again.
    fn arrive(&mut self, to: Side, text: &str) {
        let negotiation = match (to, self.provider.as_mut()) {
            (Side::Consumer, _) => &mut self.consumer,
            (Side::Provider, Some(negotiation)) => negotiation,
            (Side::Provider, None) => {
                self.provider = self.world.answer(text).ok();
                return;
            }
        };
        if let Ok(Received::Again(texts)) = negotiation.receive(text, &self.world.keys, NOW) {
            self.send(to, texts);
        }
    }

    fn step(&mut self, side: Side, choice: u8) {
        let key = comity_identity::SecretKey::from_seed(&match side {
            Side::Provider => *self.world.provider.agree.seed(),
            Side::Consumer => *self.world.consumer.agree.seed(),
        });
        let Some(it) = self.side(side) else { return };
        let columns: &[&str] = if choice & 1 == 0 {
            &["temp"]
        } else {
            &["wind"]
        };
        let said = match (it.due(), it.waits_for_us(), side, choice % 8) {
            (_, _, _, 7) => it.terminate(String::new(), NOW, &key),
            (Some(Due::Verify), ..) => it.verify(NOW, &key),
            (Some(Due::Finalize), ..) => it.finalize(NOW, &key),
            (Some(Due::Agree), ..) | (None, true, Side::Provider, 0..=2) => {
                it.agree(HEADS, NONCE, NOW, &key)
            }
            (None, true, Side::Provider, _) => it.offer(proposing(access(columns), ""), NOW, &key),
            (None, true, Side::Consumer, 0..=2) => it.accept(NOW, &key),
            (None, true, Side::Consumer, _) => {
                it.counter(proposing(access(columns), ""), NOW, &key)
            }
            (None, false, ..) => return,
        };
        self.send(side, said.into_iter().collect());
    }

    /// What holds at every moment.
    fn check(&self) -> Result<(), TestCaseError> {
        for it in self.provider.iter().chain([&self.consumer]) {
            if it.state() == State::Finalized {
                prop_assert!(it.document().is_some());
            }
            if let Some(signed) = it.document() {
                let keys = &self.world.keys;
                let read = SignedDocument::verify(AGREEMENT, signed.text(), keys, NOW).unwrap();
                prop_assert_eq!(read.document(), signed.document());
                prop_assert!(matches!(it.state(), State::Verified | State::Finalized));
            }
        }
        if let Some(provider) = &self.provider {
            let text = |n: &Negotiation| n.document().map(|d| d.text().to_owned());
            if let (Some(ours), Some(theirs)) = (text(&self.consumer), text(provider)) {
                prop_assert_eq!(ours, theirs);
            }
            let states = [provider.state(), self.consumer.state()];
            prop_assert!(
                !(states.contains(&State::Finalized) && states.contains(&State::Terminated))
            );
        }
        Ok(())
    }

    /// From now on everything arrives and both sides decide: it must end, and alike.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..MAX_ROUNDS {
            for side in [Side::Provider, Side::Consumer] {
                self.act(Action::Retry(side));
                self.step(side, 0);
            }
            while !self.on_the_way.is_empty() {
                let (to, text) = self.on_the_way.remove(0);
                self.arrive(to, &text);
            }
            self.check()?;
            let done = |n: &Negotiation| n.state().is_final();
            if self.provider.as_ref().is_some_and(done) && done(&self.consumer) {
                return Ok(());
            }
        }
        Err(TestCaseError::fail("no end was reached"))
    }
}

proptest! {
    #[test]
    fn whatever_the_network_does_both_sides_end_alike(actions in vec(action(), 0..80)) {
        let mut network = Network::new();
        for action in actions {
            network.act(action);
            network.check()?;
        }
        network.settle()?;
        let provider = network.provider.unwrap();
        let consumer = network.consumer;
        prop_assert_eq!(provider.state(), consumer.state());
        let text = |n: &Negotiation| n.document().map(|d| d.text().to_owned());
        prop_assert_eq!(text(&provider), text(&consumer));
        prop_assert_eq!(text(&provider).is_some(), provider.state() == State::Finalized);
        assert_same(&provider, &replayed(network.world.provider.org, &provider));
        assert_same(&consumer, &replayed(network.world.consumer.org, &consumer));
    }
}
