//! Signals where they meet LWPs: choosing, masks, waiting, contexts.

use crate::common::{MS, SECOND, asleep, in_state, now, parked};
use core::sync::atomic::Ordering;
use core::time::Duration;
use lwp_abi::errno::Errno;
use lwp_abi::lwp::{LwpState, Pid};
use lwp_abi::nr;
use lwp_abi::signal::{
    SEGV_MAPERR, SI_LWP, SIG_IGN, SS_DISABLE, SS_ONSTACK, SaFlags, SigSet, Sigaction, Siginfo,
    Signo, StackT,
};
use lwp_abi::ucontext::{PSL_AC, PSL_D, Ucontext};
use lwp_kernel::callout::Call;
use lwp_kernel::ctx::FaultKind;
use lwp_kernel::machine::ExitWith;
use lwp_sim::{Ended, NOWHERE, PID, Sim, User, run, run_to};

const USR1: SigSet = SigSet::of(&[Signo::SIGUSR1]);

/// Sends a signal to the process, as from outside.
pub(crate) fn to_process(user: &User, signo: Signo) {
    user.kernel().psignal(&Siginfo::user(signo, Pid::new(1), 0));
}

/// Sends a signal to the process in a while.
pub(crate) fn later(user: &User, after: Duration, signo: Signo) {
    let kernel = user.kernel();
    let info = Siginfo::user(signo, Pid::new(1), 0);
    let call = Call::Run(Box::new(move |kernel| kernel.psignal(&info)));
    kernel.timeout(now(user) + after, call);
}

#[test]
pub(crate) fn masks_are_per_lwp_and_dispositions_shared() {
    run(|user| async move {
        let count = user.put(&0u64);
        let lid = user.spawn(move |user| async move {
            user.block(&[Signo::SIGUSR1]).await;
            let handler = user.handler(move |user, _| async move { user.add(count, 1) });
            user.sigaction(Signo::SIGUSR1, handler, SaFlags::empty())
                .await;
        });
        user.wait(lid.await.unwrap()).await.unwrap();
        user.kill(PID, Signo::SIGUSR1).await.unwrap();
        assert_eq!(user.get::<u64>(count), 1);
    });
}

#[test]
pub(crate) fn a_process_signal_goes_to_one_that_has_it_unblocked() {
    run(|user| async move {
        user.block(&[Signo::SIGUSR1]).await;
        let count = user.put(&0u64);
        let open = user.spawn(move |user| async move {
            user.unblock(&[Signo::SIGUSR1]).await;
            assert_eq!(user.park().await, Err(Errno::EINTR));
            assert_eq!(user.get::<u64>(count), 1);
        });
        let open = open.await.unwrap();
        asleep(&user, open, "parked").await;
        let closed = parked(&user).await;
        let handler = user.handler(move |user, _| async move {
            assert_eq!(user.lwp_self().await, open);
            user.add(count, 1);
        });
        user.sigaction(Signo::SIGUSR1, handler, SaFlags::RESTART)
            .await;
        to_process(&user, Signo::SIGUSR1);
        user.wait(open).await.unwrap();
        user.unpark(closed).await.unwrap();
    });
}

#[test]
pub(crate) fn among_sleepers_the_newest_takes_it() {
    run(|user| async move {
        user.block(&[Signo::SIGUSR1]).await;
        let mut lids = Vec::new();
        for _ in 0..3 {
            let lid = user.spawn(|user| async move {
                user.unblock(&[Signo::SIGUSR1]).await;
                // Interrupted or unparked.
                let _ = user.park().await;
            });
            lids.push(lid.await.unwrap());
        }
        for &lid in &lids {
            asleep(&user, lid, "parked").await;
        }
        let newest = lids[2];
        let handler = user.handler(move |user, _| async move {
            assert_eq!(user.lwp_self().await, newest);
        });
        user.sigaction(Signo::SIGUSR1, handler, SaFlags::empty())
            .await;
        to_process(&user, Signo::SIGUSR1);
        user.wait(newest).await.unwrap();
        user.unpark_all(&lids[..2]).await.unwrap();
    });
}

#[test]
pub(crate) fn what_all_block_waits_for_the_first_to_unblock() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        user.block(&[Signo::SIGUSR1]).await;
        to_process(&user, Signo::SIGUSR1);
        let lid = user.spawn(move |user| async move {
            assert!(user.sigpending().await.contains(Signo::SIGUSR1));
            user.unblock(&[Signo::SIGUSR1]).await;
            assert_eq!(user.get::<u64>(count), 1);
        });
        assert!(user.get::<u64>(count) == 0);
        user.wait(lid.await.unwrap()).await.unwrap();
        assert!(user.sigpending().await.is_empty());
    });
}

#[test]
pub(crate) fn the_handler_runs_with_its_mask_and_restores_the_old_one() {
    run(|user| async move {
        let handler = user.handler(|user, _| async move {
            let mask = user.block(&[]).await;
            let expected = SigSet::of(&[Signo::SIGUSR1, Signo::SIGHUP, Signo::SIGINT]);
            assert_eq!(mask, expected);
        });
        let action = Sigaction {
            sa_handler: handler,
            sa_mask: SigSet::of(&[Signo::SIGHUP, Signo::SIGKILL]),
            sa_flags: 0,
            pad: 0,
        };
        user.sigaction_raw(30, &action, (1, 2)).await.unwrap();
        user.set_mask(SigSet::of(&[Signo::SIGINT])).await;
        user.kill(PID, Signo::SIGUSR1).await.unwrap();
        assert_eq!(user.block(&[]).await, SigSet::of(&[Signo::SIGINT]));
    });
}

#[test]
pub(crate) fn a_context_edited_in_the_handler_takes_effect() {
    run(|user| async move {
        let handler = user.handler(|user, [_, _, context]| async move {
            let mut uc: Ucontext = user.get(context);
            assert_eq!(uc.uc_flags, 0xA000D);
            uc.uc_sigmask.insert(Signo::SIGHUP);
            // The result of the interrupted call.
            uc.uc_mcontext.gregs.rdx = 4711;
            let bytes = zerocopy::IntoBytes::as_bytes(&uc);
            user.memory().write(bytes, context).unwrap();
        });
        user.sigaction(Signo::SIGUSR1, handler, SaFlags::empty())
            .await;
        let args = [u64::from(PID.unsigned_abs()), 30];
        let reply = user.syscall(nr::SYS_LWP_KILL, &args).await;
        assert_eq!((reply.rax, reply.rdx, reply.carry), (0, 4711, false));
        assert_eq!(user.block(&[]).await, SigSet::of(&[Signo::SIGHUP]));
    });
}

#[test]
pub(crate) fn sigaction_checks_in_order() {
    run(|user| async move {
        let action = |sa_handler, sa_flags| Sigaction {
            sa_handler,
            sa_mask: SigSet::EMPTY,
            sa_flags,
            pad: 0,
        };
        let einval = Err(Errno::EINVAL);
        let call = nr::SYS_SIGACTION_SIGTRAMP;
        for signo in [0, 64, 100] {
            assert_eq!(
                user.call(call, &[signo, NOWHERE, 0, 1, 2]).await,
                Err(Errno::EFAULT)
            );
            assert_eq!(
                user.call(call, &[signo, 0, 0, 0, 0]).await,
                einval.map(|()| 0)
            );
        }
        for (tramp, version) in [(0, 2), (1, 0), (1, 1), (1, 3)] {
            let bad = user
                .sigaction_raw(30, &action(0x5000, 0), (tramp, version))
                .await;
            assert_eq!(bad, einval);
        }
        assert_eq!(
            user.sigaction_raw(30, &action(0x5000, 0x100), (1, 2)).await,
            einval
        );
        for signo in [9, 17] {
            assert_eq!(
                user.sigaction_raw(signo, &action(0, 0), (0, 0)).await,
                einval
            );
        }
        assert_eq!(user.sigaction_raw(30, &action(1, 0), (0, 0)).await, Ok(()));
    });
}

#[test]
pub(crate) fn sigsuspend_waits_with_its_mask_and_restores_the_old_one() {
    run(|user| async move {
        let handler = user.handler(|user, _| async move {
            let mask = user.block(&[]).await;
            assert_eq!(mask, SigSet::of(&[Signo::SIGUSR1, Signo::SIGHUP]));
        });
        user.sigaction(Signo::SIGUSR1, handler, SaFlags::RESTART)
            .await;
        user.set_mask(USR1).await;
        later(&user, MS, Signo::SIGUSR1);
        let ended = user.sigsuspend(SigSet::of(&[Signo::SIGHUP])).await;
        assert_eq!(ended, Err(Errno::EINTR));
        assert_eq!(user.block(&[]).await, USR1);
    });
}

#[test]
pub(crate) fn what_sigsuspend_blocked_is_handled_as_it_returns() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        let lid = user.spawn(move |user| async move {
            assert_eq!(user.sigsuspend(USR1).await, Err(Errno::EINTR));
            assert_eq!(user.get::<u64>(count), 1);
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "pause").await;
        user.kill(lid, Signo::SIGUSR1).await.unwrap();
        user.nanosleep(MS).await.unwrap();
        assert_eq!(user.get::<u64>(count), 0);
        // No handler takes the old mask back to user mode: the call itself does.
        user.wakeup(lid).await.unwrap();
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn sigtimedwait_takes_blocked_signals_of_process_and_lwp() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        user.block(&[Signo::SIGUSR1]).await;
        user.kill(PID, Signo::SIGUSR1).await.unwrap();
        to_process(&user, Signo::SIGUSR1);
        // The process's first.
        assert_eq!(user.sigtimedwait(USR1, None).await.unwrap().si_code, 0);
        assert_eq!(user.sigtimedwait(USR1, None).await.unwrap().si_code, SI_LWP);
        later(&user, MS, Signo::SIGUSR1);
        assert_eq!(user.sigtimedwait(USR1, None).await.unwrap().si_code, 0);
        assert_eq!(user.get::<u64>(count), 0);
    });
}

#[test]
pub(crate) fn sigtimedwait_polls_times_out_and_refuses() {
    run(|user| async move {
        let none = |waited: Result<Siginfo, Errno>| waited.map(|info| info.si_signo);
        let zero = Some(Duration::ZERO);
        assert_eq!(
            none(user.sigtimedwait(USR1, zero).await),
            Err(Errno::EAGAIN)
        );
        let before = now(&user);
        let timed = user.sigtimedwait(USR1, Some(SECOND)).await;
        assert_eq!(none(timed), Err(Errno::EAGAIN));
        assert!(now(&user) >= before + SECOND);
        let set = user.put(&USR1);
        let bad = user.put(&[0i64, 1_000_000_000]);
        let call = nr::SYS_SIGTIMEDWAIT50;
        assert_eq!(user.call(call, &[set, 0, bad]).await, Err(Errno::EINVAL));
        assert_eq!(
            user.call(call, &[set, 0, NOWHERE]).await,
            Err(Errno::EFAULT)
        );
        assert_eq!(
            user.call(call, &[NOWHERE, 0, bad]).await,
            Err(Errno::EINVAL)
        );
        assert_eq!(user.call(call, &[NOWHERE, 0, 0]).await, Err(Errno::EFAULT));
    });
}

#[test]
pub(crate) fn a_directed_signal_is_not_for_anothers_sigtimedwait() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        let lid = user.spawn(|user| async move {
            let got = user.sigtimedwait(USR1, None).await.unwrap();
            assert_eq!(got.si_code, 0);
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "sigwait").await;
        user.kill(PID, Signo::SIGUSR1).await.unwrap();
        assert_eq!(user.get::<u64>(count), 1);
        in_state(&user, lid, LwpState::Sleep).await;
        to_process(&user, Signo::SIGUSR1);
        user.wait(lid).await.unwrap();
        assert_eq!(user.get::<u64>(count), 1);
    });
}

#[test]
pub(crate) fn a_handled_signal_outside_the_set_ends_sigtimedwait() {
    run(|user| async move {
        for (flags, restarts) in [(SaFlags::empty(), false), (SaFlags::RESTART, true)] {
            user.count_signals(Signo::SIGUSR2, flags).await;
            later(&user, MS, Signo::SIGUSR2);
            later(&user, 2 * MS, Signo::SIGUSR1);
            user.block(&[Signo::SIGUSR1]).await;
            let waited = user.sigtimedwait(USR1, None).await;
            if restarts {
                assert!(waited.is_ok());
            } else {
                assert_eq!(waited.map(|info| info.si_signo), Err(Errno::ECANCELED));
                assert!(user.sigtimedwait(USR1, None).await.is_ok());
            }
        }
    });
}

#[test]
pub(crate) fn realtime_signals_queue_and_ordinary_ones_do_not() {
    run(|user| async move {
        for (signo, deliveries) in [(Signo::SIGUSR1, 1), (Signo::SIGRTMIN, 10)] {
            let count = user.count_signals(signo, SaFlags::empty()).await;
            user.block(&[signo]).await;
            for _ in 0..10 {
                user.kill(PID, signo).await.unwrap();
            }
            user.unblock(&[signo]).await;
            assert_eq!(user.get::<u64>(count), deliveries);
        }
    });
}

#[test]
pub(crate) fn ignoring_a_signal_forgets_it() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        user.block(&[Signo::SIGUSR1]).await;
        user.kill(PID, Signo::SIGUSR1).await.unwrap();
        to_process(&user, Signo::SIGUSR1);
        user.sigaction(Signo::SIGUSR1, SIG_IGN, SaFlags::empty())
            .await;
        assert!(user.sigpending().await.is_empty());
        user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        user.unblock(&[Signo::SIGUSR1]).await;
        assert_eq!(user.get::<u64>(count), 0);
    });
}

#[test]
pub(crate) fn resethand_lasts_once() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGCHLD, SaFlags::RESETHAND).await;
        user.kill(PID, Signo::SIGCHLD).await.unwrap();
        user.kill(PID, Signo::SIGCHLD).await.unwrap();
        assert_eq!(user.get::<u64>(count), 1);
    });
}

#[test]
pub(crate) fn an_alternate_stack_is_used_and_reported() {
    run(|user| async move {
        let base = user.memory().alloc(16384);
        let stack = |ss_size, ss_flags| StackT {
            ss_sp: base,
            ss_size,
            ss_flags,
            pad: 0,
        };
        let call = nr::SYS_SIGALTSTACK14;
        let set = |value| [user.put(&value), 0];
        assert_eq!(
            user.call(call, &set(stack(8191, 0))).await,
            Err(Errno::ENOMEM)
        );
        assert_eq!(
            user.call(call, &set(stack(16384, 8))).await,
            Err(Errno::EINVAL)
        );
        assert_eq!(user.call(call, &set(stack(16384, 0))).await, Ok(0));
        let handler = user.handler(move |user, [_, info, _]| async move {
            assert!((base..base + 16384).contains(&info));
            let old = user.put(&StackT::default());
            user.call(call, &[0, old]).await.unwrap();
            assert_eq!(user.get::<StackT>(old).ss_flags, SS_ONSTACK);
            let disable = StackT {
                ss_flags: SS_DISABLE,
                ..StackT::default()
            };
            let disable = user.put(&disable);
            assert_eq!(user.call(call, &[disable, 0]).await, Err(Errno::EINVAL));
        });
        user.sigaction(Signo::SIGUSR1, handler, SaFlags::ONSTACK)
            .await;
        user.kill(PID, Signo::SIGUSR1).await.unwrap();
        let old = user.put(&StackT::default());
        user.call(call, &[0, old]).await.unwrap();
        assert_eq!(user.get::<StackT>(old).ss_flags, 0);
    });
}

#[test]
pub(crate) fn a_fault_is_handled_by_its_lwp() {
    run(|user| async move {
        let handler = user.handler(|user, [_, info, context]| async move {
            let info: Siginfo = user.get(info);
            assert_eq!((info.si_code, info.addr()), (SEGV_MAPERR, 0x1234));
            assert_ne!(user.lwp_self().await, PID);
            let _ = context;
            user.lwp_exit().await;
        });
        user.sigaction(Signo::SIGSEGV, handler, SaFlags::empty())
            .await;
        let lid = user.spawn(|user| async move {
            user.fault(FaultKind::SegvMapErr, 0x1234).await;
        });
        let lid = lid.await.unwrap();
        assert_eq!(user.wait(lid).await, Ok(lid));
    });
}

#[test]
pub(crate) fn a_fault_that_is_blocked_ignored_or_not_handled_kills() {
    let killed = Ended::Exit(ExitWith::Signal(Signo::SIGSEGV));
    for way in 0..3 {
        run_to(killed, move |user| async move {
            if way == 1 {
                user.block(&[Signo::SIGSEGV]).await;
                user.count_signals(Signo::SIGSEGV, SaFlags::empty()).await;
            } else if way == 2 {
                user.sigaction(Signo::SIGSEGV, SIG_IGN, SaFlags::empty())
                    .await;
            }
            parked(&user).await;
            user.fault(FaultKind::SegvMapErr, 0x1234).await;
        });
    }
}

#[test]
pub(crate) fn a_frame_that_cannot_be_written_kills_with_sigill() {
    let killed = Ended::Exit(ExitWith::Signal(Signo::SIGILL));
    run_to(killed, |user| async move {
        user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        let function = user.thread(|user, _| async move {
            user.kill(user.lwp_self().await, Signo::SIGUSR1)
                .await
                .unwrap();
        });
        let mut uc = user.context(function, 0);
        uc.uc_mcontext.gregs.rsp = NOWHERE;
        let lid = user.put(&0i32);
        user.create(user.put(&uc), 0, lid).await.unwrap();
        user.park().await.unwrap();
    });
}

#[test]
pub(crate) fn setcontext_checks_and_installs() {
    run(|user| async move {
        let call = nr::SYS_SETCONTEXT;
        assert_eq!(user.call(call, &[NOWHERE]).await, Err(Errno::EFAULT));
        let reached = user.thread(|user, arg| async move {
            assert_eq!(arg, 99);
            assert_eq!(user.block(&[]).await, USR1);
        });
        let mut uc = user.context(reached, 99);
        uc.uc_flags = 0;
        assert_eq!(user.call(call, &[user.put(&uc)]).await, Err(Errno::EINVAL));
        uc.uc_flags = 5;
        uc.uc_sigmask = USR1;
        uc.uc_mcontext.gregs.cs = 8;
        assert_eq!(user.call(call, &[user.put(&uc)]).await, Err(Errno::EINVAL));
        // The mask comes before the registers and is not undone.
        assert_eq!(user.set_mask(SigSet::EMPTY).await, USR1);
        uc.uc_mcontext.gregs.cs = 0x47;
        user.call(call, &[user.put(&uc)]).await.unwrap();
    });
}

#[test]
pub(crate) fn nanosleep_is_eintr_whatever_the_flags_and_stores_the_rest() {
    for flags in [SaFlags::empty(), SaFlags::RESTART] {
        run(move |user| async move {
            let count = user.count_signals(Signo::SIGALRM, flags).await;
            later(&user, MS, Signo::SIGALRM);
            let (errno, rest) = user.nanosleep(SECOND).await.unwrap_err();
            assert_eq!((errno, rest.tv_sec), (Errno::EINTR, 0));
            assert!(rest.tv_nsec > 0 && rest.tv_nsec < 999_500_000);
            assert_eq!(user.get::<u64>(count), 1);
        });
    }
}

#[test]
pub(crate) fn sigcont_that_is_ignored_from_now_on_is_no_longer_pending() {
    run(|user| async move {
        user.block(&[Signo::SIGCONT]).await;
        user.count_signals(Signo::SIGCONT, SaFlags::empty()).await;
        to_process(&user, Signo::SIGCONT);
        assert!(user.sigpending().await.contains(Signo::SIGCONT));
        user.sigaction(Signo::SIGCONT, SIG_IGN, SaFlags::empty())
            .await;
        assert!(!user.sigpending().await.contains(Signo::SIGCONT));
    });
}

#[test]
pub(crate) fn a_handler_starts_without_the_flags_that_would_disturb_it() {
    run(|user| async move {
        let seen = user.put(&0u64);
        let handler = user.handler(move |user, [_, _, frame]| async move {
            let uc = user.put(&Ucontext::default());
            user.call(nr::SYS_GETCONTEXT, &[uc]).await.unwrap();
            let inside = user.get::<Ucontext>(uc).uc_mcontext.gregs.rflags;
            let interrupted = user.get::<Ucontext>(frame).uc_mcontext.gregs.rflags;
            assert_eq!(inside & (PSL_AC | PSL_D), 0);
            assert_eq!(interrupted & (PSL_AC | PSL_D), PSL_AC | PSL_D);
            user.add(seen, 1);
        });
        user.sigaction(Signo::SIGUSR1, handler, SaFlags::empty())
            .await;
        let function = user.thread(|user, _| async move {
            let me = user.lwp_self().await;
            user.kill(me, Signo::SIGUSR1).await.unwrap();
        });
        let mut uc = user.context(function, 0);
        uc.uc_mcontext.gregs.rflags |= PSL_AC | PSL_D;
        let (uc, lid) = (user.put(&uc), user.put(&0i32));
        user.create(uc, 0, lid).await.unwrap();
        user.wait(user.get::<i32>(lid)).await.unwrap();
        assert_eq!(user.get::<u64>(seen), 1);
    });
}

#[test]
pub(crate) fn a_context_names_the_main_stack_unless_on_the_alternate_one() {
    run(|user| async move {
        let kernel = user.kernel();
        kernel.proc.stack_base.store(0x7000, Ordering::Relaxed);
        kernel.proc.stack_size.store(0x9000, Ordering::Relaxed);
        let uc = user.put(&Ucontext::default());
        user.call(nr::SYS_GETCONTEXT, &[uc]).await.unwrap();
        let stack = user.get::<Ucontext>(uc).uc_stack;
        assert_eq!(
            (stack.ss_sp, stack.ss_size, stack.ss_flags),
            (0x7000, 0x9000, 0)
        );
    });
}

#[test]
pub(crate) fn a_stop_signal_and_sigcont_cancel_each_other_and_nothing_else_does() {
    run(|user| async move {
        let both = [Signo::SIGTSTP, Signo::SIGCONT];
        user.block(&both).await;
        for signo in [Signo::SIGCONT, Signo::SIGUSR1, Signo::SIGTSTP] {
            user.count_signals(signo, SaFlags::empty()).await;
        }
        let pending = async || {
            let set = user.sigpending().await;
            both.map(|signo| set.contains(signo))
        };
        to_process(&user, Signo::SIGTSTP);
        to_process(&user, Signo::SIGUSR1);
        assert_eq!(pending().await, [true, false]);
        to_process(&user, Signo::SIGCONT);
        assert_eq!(pending().await, [false, true]);
        to_process(&user, Signo::SIGUSR1);
        assert_eq!(pending().await, [false, true]);
        // Another handler is no reason to forget it.
        user.count_signals(Signo::SIGCONT, SaFlags::RESTART).await;
        assert_eq!(pending().await, [false, true]);
        to_process(&user, Signo::SIGTSTP);
        assert_eq!(pending().await, [true, false]);
    });
}

#[test]
pub(crate) fn an_uninterruptible_sleep_lasts_as_long_as_without_the_signal() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        let lid = user.spawn(move |user| async move {
            let before = now(&user);
            assert_eq!(user.nanosleep(SECOND).await, Ok(()));
            assert!(now(&user) >= before + SECOND);
            assert_eq!(user.get::<u64>(count), 1);
        });
        let lid = lid.await.unwrap();
        asleep(&user, lid, "nanoslp").await;
        // As in vfork(2), which the sim has not.
        let lwp = user.kernel().lids.find(lid).unwrap();
        lwp.lock().interruptible = false;
        user.kill(lid, Signo::SIGUSR1).await.unwrap();
        user.nanosleep(MS).await.unwrap();
        assert_eq!(user.get::<u64>(count), 0);
        user.wait(lid).await.unwrap();
    });
}

#[test]
pub(crate) fn a_signal_from_the_kernel_itself_goes_to_its_lwp() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGPIPE, SaFlags::empty()).await;
        let kernel = user.kernel();
        let lwp = kernel.lids.find(PID).unwrap();
        kernel.lwp_signal(&lwp, &Siginfo::new(Signo::SIGPIPE, 0));
        user.pause().await;
        user.until("it is handled", || user.get::<u64>(count) == 1)
            .await;
    });
}

#[test]
pub(crate) fn a_signal_from_outside_reaches_the_process() {
    let sim = Sim::new(1, |user| async move {
        loop {
            user.pause().await;
        }
    });
    sim.machine().signal(Signo::SIGTERM);
    assert_eq!(sim.run(), Ended::Exit(ExitWith::Signal(Signo::SIGTERM)));
}

#[test]
pub(crate) fn a_look_for_events_brings_what_is_due() {
    run(|user| async move {
        let count = user.count_signals(Signo::SIGUSR1, SaFlags::empty()).await;
        user.block(&[Signo::SIGUSR1]).await;
        let kernel = user.kernel();
        later(&user, Duration::ZERO, Signo::SIGUSR1);
        let is_pending = || kernel.proc.lock().sigpend.set().contains(Signo::SIGUSR1);
        assert!(!is_pending());
        // As kevent(2) and poll(2) do.
        kernel.poll_events();
        assert!(is_pending());
        user.unblock(&[Signo::SIGUSR1]).await;
        assert_eq!(user.get::<u64>(count), 1);
    });
}
