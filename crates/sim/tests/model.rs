//! A small reference model of the life of an LWP, and random call sequences against it.
//!
//! A driver makes calls on three puppets and has them make calls; after each it waits until every puppet
//! is where the model says, and compares the results. Only sequences with one possible outcome are
//! made: no two waiters for one target, no suspension of an LWP whose call would go on sleeping.
//!
//! Source of the model: lwp.md 1.7 and section 2, not the kernel.
#![allow(
    clippy::unwrap_used,
    reason = "a test may say so by panicking, in its helpers too"
)]

use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LWP_DETACHED, LWP_SUSPENDED, LwpState};
use lwp_kernel::machine::ExitWith;
use lwp_sim::{Ended, Sim, User, describe};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};

const PUPPETS: usize = 3;

type Outcome = Result<(), Errno>;

/// What the driver does, to puppet `.0`.
#[derive(Clone, Copy, Debug)]
enum Op {
    Create(usize, Birth),
    Unpark(usize),
    Continue(usize),
    Wakeup(usize),
    Look(usize),
    Detach(usize),
    Suspend(usize),
    Wait(usize),
    Tell(usize, Command),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Birth {
    Joinable,
    Detached,
    Suspended,
}

/// What a puppet is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Park,
    Wait(usize),
    Exit,
}

/// Where an LWP is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Parked,
    Waiting(usize),
    Suspended,
    Zombie,
    /// Detached, dead, and not yet reclaimed.
    InSlot,
    Gone,
}

/// One LWP in the model.
#[derive(Clone, Copy, Debug)]
struct Lwp {
    state: State,
    has_token: bool,
    is_cancelled: bool,
    is_detached: bool,
    /// The result of its last command, once it is out.
    result: Option<Outcome>,
}

const NOBODY: Lwp = Lwp {
    state: State::Gone,
    has_token: false,
    is_cancelled: false,
    is_detached: false,
    result: None,
};

/// The model.
#[derive(Debug)]
struct Model([Lwp; PUPPETS]);

impl Model {
    fn live(&self, who: usize) -> Outcome {
        match self.0[who].state {
            State::Zombie | State::InSlot | State::Gone => Err(Errno::ESRCH),
            State::Idle | State::Parked | State::Waiting(_) | State::Suspended => Ok(()),
        }
    }

    fn finish(&mut self, who: usize, result: Outcome) {
        self.0[who].state = State::Idle;
        self.0[who].result = Some(result);
    }

    fn waiter_of(&self, target: usize) -> Option<usize> {
        (0..PUPPETS).find(|&who| self.0[who].state == State::Waiting(target))
    }

    /// The detached zombie, if there is one, is reclaimed.
    fn drain(&mut self) {
        for lwp in &mut self.0 {
            if lwp.state == State::InSlot {
                lwp.state = State::Gone;
            }
        }
    }

    /// A broadcast: whoever waits looks around, which reclaims.
    fn broadcast(&mut self) {
        let waits = |lwp: &Lwp| matches!(lwp.state, State::Waiting(_));
        if self.0.iter().any(waits) {
            self.drain();
        }
    }

    /// Whether an operation makes sense and has one outcome only.
    fn allows(&self, op: Op) -> bool {
        match op {
            Op::Create(who, _) => matches!(self.0[who].state, State::Gone | State::InSlot),
            Op::Suspend(who) => !matches!(self.0[who].state, State::Waiting(_) | State::Suspended),
            Op::Wait(who) => self.live(who).is_err() || self.0[who].is_detached,
            Op::Tell(who, Command::Wait(target)) => {
                self.0[who].state == State::Idle && self.waiter_of(target).is_none()
            }
            Op::Tell(who, _) => self.0[who].state == State::Idle,
            _ => true,
        }
    }

    /// What the driver's call returns.
    fn step(&mut self, op: Op) -> Outcome {
        match op {
            Op::Create(who, birth) => self.create(who, birth),
            Op::Look(who) => return self.live(who),
            Op::Unpark(who) => {
                self.live(who)?;
                if self.0[who].state == State::Parked {
                    self.finish(who, Ok(()));
                } else {
                    self.0[who].has_token = true;
                }
            }
            Op::Continue(who) => {
                self.live(who)?;
                if self.0[who].state == State::Suspended {
                    self.0[who].state = State::Idle;
                    self.broadcast();
                }
            }
            Op::Wakeup(who) => return self.wakeup(who),
            Op::Detach(who) => return self.detach(who),
            Op::Suspend(who) => {
                self.live(who)?;
                if self.0[who].state == State::Parked {
                    self.finish(who, Ok(()));
                }
                self.0[who].state = State::Suspended;
                self.broadcast();
            }
            Op::Wait(who) => return self.reap(who),
            Op::Tell(who, command) => self.command(who, command),
        }
        Ok(())
    }

    fn create(&mut self, who: usize, birth: Birth) {
        self.drain();
        let state = if birth == Birth::Suspended {
            State::Suspended
        } else {
            State::Idle
        };
        self.0[who] = Lwp {
            state,
            is_detached: birth == Birth::Detached,
            ..NOBODY
        };
        if state == State::Suspended {
            self.broadcast();
        }
    }

    fn wakeup(&mut self, who: usize) -> Outcome {
        self.live(who)?;
        (self.0[who].has_token, self.0[who].is_cancelled) = (true, true);
        match self.0[who].state {
            State::Parked => self.finish(who, Err(Errno::EINTR)),
            State::Waiting(_) => {
                self.finish(who, Err(Errno::EINTR));
                self.broadcast();
            }
            _ => return Err(Errno::ENODEV),
        }
        Ok(())
    }

    fn detach(&mut self, who: usize) -> Outcome {
        match self.0[who] {
            Lwp {
                state: State::Gone, ..
            } => return Err(Errno::ESRCH),
            Lwp {
                is_detached: true, ..
            } => return Err(Errno::EINVAL),
            Lwp {
                state: State::Zombie,
                ..
            } => self.0[who].state = State::Gone,
            _ => {
                self.0[who].is_detached = true;
                if let Some(waiter) = self.waiter_of(who) {
                    self.drain();
                    self.finish(waiter, Err(Errno::EINVAL));
                }
            }
        }
        self.broadcast();
        Ok(())
    }

    /// The driver's own wait, for one that is dead or detached.
    fn reap(&mut self, who: usize) -> Outcome {
        self.drain();
        match self.0[who] {
            Lwp {
                state: State::Gone, ..
            } => Err(Errno::ESRCH),
            Lwp {
                is_detached: true, ..
            } => Err(Errno::EINVAL),
            _ => {
                self.0[who].state = State::Gone;
                Ok(())
            }
        }
    }

    fn command(&mut self, who: usize, command: Command) {
        self.0[who].result = None;
        match command {
            Command::Park if self.0[who].has_token || self.0[who].is_cancelled => {
                (self.0[who].has_token, self.0[who].is_cancelled) = (false, false);
                self.finish(who, Err(Errno::EALREADY));
            }
            Command::Park => self.0[who].state = State::Parked,
            Command::Wait(target) => self.wait(who, target),
            Command::Exit => self.exit(who),
        }
    }

    fn wait(&mut self, who: usize, target: usize) {
        self.drain();
        let waits_for_us = target == who || self.0[target].state == State::Waiting(who);
        match self.0[target] {
            Lwp {
                state: State::Gone, ..
            } => self.finish(who, Err(Errno::ESRCH)),
            Lwp {
                is_detached: true, ..
            } => self.finish(who, Err(Errno::EINVAL)),
            _ if waits_for_us => self.finish(who, Err(Errno::EDEADLK)),
            Lwp {
                state: State::Zombie,
                ..
            } => {
                self.0[target].state = State::Gone;
                self.finish(who, Ok(()));
            }
            _ if self.0[who].is_cancelled => {
                self.0[who].is_cancelled = false;
                self.finish(who, Err(Errno::EINTR));
            }
            _ => self.0[who].state = State::Waiting(target),
        }
    }

    fn exit(&mut self, who: usize) {
        if self.0[who].is_detached {
            self.drain();
            self.0[who].state = State::InSlot;
        } else if let Some(waiter) = self.waiter_of(who) {
            self.drain();
            self.0[who].state = State::Gone;
            self.finish(waiter, Ok(()));
        } else {
            self.0[who].state = State::Zombie;
        }
        self.broadcast();
    }
}

/// What a puppet and the driver pass each other, on the host's side.
#[derive(Debug, Default)]
struct Mail {
    command: Option<Command>,
    result: Option<Outcome>,
    /// How often it has looked here: while that does not change, it may still be on its way out of a call.
    looks: u64,
}

#[derive(Clone, Default)]
struct Puppet {
    lid: i32,
    mail: Arc<Mutex<Mail>>,
}

/// The ids that puppets are told to wait for.
type Lids = Arc<Mutex<[i32; PUPPETS]>>;

async fn puppet(user: User, mail: Arc<Mutex<Mail>>, lids: Lids) {
    loop {
        let command = {
            let mut mail = mail.lock().unwrap();
            mail.looks += 1;
            mail.command.take()
        };
        let result = match command {
            None => {
                user.pause().await;
                continue;
            }
            Some(Command::Park) => user.park().await,
            Some(Command::Wait(target)) => {
                let target = lids.lock().unwrap()[target];
                user.wait_to(target, 0).await
            }
            Some(Command::Exit) => return,
        };
        mail.lock().unwrap().result = Some(result);
    }
}

/// Whether a puppet is where the model says, and has looked at its mail since the look of this number.
fn agrees(user: &User, puppet: &Puppet, lwp: &Lwp, look: u64) -> bool {
    let found = user.kernel().lids.find(puppet.lid).map(|found| {
        let st = found.lock();
        (st.stat, st.wmesg)
    });
    let mail = puppet.mail.lock().unwrap();
    match (lwp.state, found) {
        (State::Gone, None)
        | (State::InSlot | State::Zombie, Some((LwpState::Zomb, _)))
        | (State::Suspended, Some((LwpState::Suspended, _))) => true,
        (State::Parked, Some((LwpState::Sleep, wmesg))) => wmesg == "parked",
        (State::Waiting(_), Some((LwpState::Sleep, wmesg))) => wmesg == "lwpwait",
        (State::Idle, Some((LwpState::Run | LwpState::Onproc, _))) => {
            mail.command.is_none() && mail.result == lwp.result && mail.looks > look
        }
        _ => false,
    }
}

async fn perform(user: &User, puppets: &mut [Puppet; PUPPETS], lids: &Lids, op: Op) -> Outcome {
    match op {
        Op::Create(who, birth) => {
            let mail = Arc::<Mutex<Mail>>::default();
            let (theirs, ids) = (Arc::clone(&mail), Arc::clone(lids));
            let flags = match birth {
                Birth::Joinable => 0,
                Birth::Detached => LWP_DETACHED,
                Birth::Suspended => LWP_SUSPENDED,
            };
            let lid = user
                .spawn_with(flags, move |user| puppet(user, theirs, ids))
                .await?;
            lids.lock().unwrap()[who] = lid;
            puppets[who] = Puppet { lid, mail };
            Ok(())
        }
        Op::Unpark(who) => user.unpark(puppets[who].lid).await,
        Op::Continue(who) => user.resume(puppets[who].lid).await,
        Op::Wakeup(who) => user.wakeup(puppets[who].lid).await,
        Op::Look(who) => user.kill_raw(puppets[who].lid, 0).await,
        Op::Detach(who) => user.detach(puppets[who].lid).await,
        Op::Suspend(who) => user.suspend(puppets[who].lid).await,
        Op::Wait(who) => user.wait_to(puppets[who].lid, 0).await,
        Op::Tell(who, command) => {
            let mut mail = puppets[who].mail.lock().unwrap();
            (mail.command, mail.result) = (Some(command), None);
            Ok(())
        }
    }
}

async fn drive(user: User, ops: Arc<Vec<Op>>) {
    let mut model = Model([NOBODY; PUPPETS]);
    // Nobody is called this.
    let mut puppets: [Puppet; PUPPETS] = Default::default();
    for puppet in &mut puppets {
        puppet.lid = -1;
    }
    let lids: Lids = Arc::new(Mutex::new([-1; PUPPETS]));
    for &op in &*ops {
        if !model.allows(op) {
            continue;
        }
        let expected = model.step(op);
        let result = perform(&user, &mut puppets, &lids, op).await;
        assert_eq!(result, expected, "{op:?} left {model:?}");
        let looks = puppets
            .each_ref()
            .map(|puppet| puppet.mail.lock().unwrap().looks);
        // At one moment: whoever is on the way out of a call may still wake one that was there before.
        let all =
            || (0..PUPPETS).all(|who| agrees(&user, &puppets[who], &model.0[who], looks[who]));
        let what = format!("they agree after {op:?} with {model:?}");
        user.until(&what, all).await;
    }
    user.exit(0).await;
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let who = || 0..PUPPETS;
    let birth = prop_oneof![
        Just(Birth::Joinable),
        Just(Birth::Detached),
        Just(Birth::Suspended)
    ];
    let command = prop_oneof![
        3 => Just(Command::Park),
        3 => who().prop_map(Command::Wait),
        1 => Just(Command::Exit),
    ];
    let op = prop_oneof![
        4 => (who(), birth).prop_map(|(who, birth)| Op::Create(who, birth)),
        3 => who().prop_map(Op::Unpark),
        3 => who().prop_map(Op::Continue),
        2 => who().prop_map(Op::Wakeup),
        1 => who().prop_map(Op::Look),
        2 => who().prop_map(Op::Detach),
        2 => who().prop_map(Op::Suspend),
        2 => who().prop_map(Op::Wait),
        8 => (who(), command).prop_map(|(who, command)| Op::Tell(who, command)),
    ];
    prop::collection::vec(op, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::with_cases(500)
    })]

    #[test]
    fn call_sequences_do_what_the_model_does(ops in ops(), seed in any::<u64>()) {
        let ops = Arc::new(ops);
        let sim = Sim::new(seed, move |user| drive(user, Arc::clone(&ops)));
        let ended = sim.run();
        let expected = Ended::Exit(ExitWith::Code(0));
        prop_assert_eq!(ended, expected, "{}", describe(sim.kernel()));
    }
}
