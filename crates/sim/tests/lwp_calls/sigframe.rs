//! Signal frames and contexts: stacks, registers, and what setcontext(2) takes.

use lwp_abi::errno::Errno;
use lwp_abi::exec::VM_MAXUSER_ADDRESS;
use lwp_abi::nr;
use lwp_abi::signal::{SS_DISABLE, SS_ONSTACK, SaFlags, Signo, StackT};
use lwp_abi::ucontext::{UcFlags, Ucontext};
use lwp_sim::{PID, User, run};

const STACK: u64 = 16384;

/// The alternate stack as the kernel reports it.
async fn sigstk(user: &User) -> StackT {
    let old = user.put(&StackT::default());
    user.call(nr::SYS_SIGALTSTACK14, &[0, old]).await.unwrap();
    user.get(old)
}

/// Gives the LWP an alternate stack; its base.
async fn give_stack(user: &User) -> u64 {
    let ss_sp = user.memory().alloc(STACK);
    let stack = StackT {
        ss_sp,
        ss_size: STACK,
        ..StackT::default()
    };
    let stack = user.put(&stack);
    user.call(nr::SYS_SIGALTSTACK14, &[stack, 0]).await.unwrap();
    ss_sp
}

/// The current context.
async fn context(user: &User) -> Ucontext {
    let uc = user.put(&Ucontext::default());
    user.call(nr::SYS_GETCONTEXT, &[uc]).await.unwrap();
    user.get(uc)
}

/// Installs the current context with these flags and stack flags; it goes on after the call.
async fn install(user: &User, flags: UcFlags, ss_flags: i32) {
    let mut uc = context(user).await;
    uc.uc_flags = UcFlags::CPU.union(flags).bits();
    uc.uc_stack.ss_flags = ss_flags;
    // What it returns is in the context.
    user.call(nr::SYS_SETCONTEXT, &[user.put(&uc)])
        .await
        .unwrap();
}

#[test]
pub(crate) fn a_handler_is_on_the_alternate_stack_only_if_it_is_to_be_and_there_is_one() {
    run(|user| async move {
        let seen = user.put(&0u64);
        let handler = user.handler(move |user, [_, _, frame]| async move {
            user.memory().write(&frame.to_le_bytes(), seen).unwrap();
        });
        let own = context(&user).await.uc_mcontext.gregs.rsp;
        let below = own - STACK..own;
        let frame = async || {
            user.kill(PID, Signo::SIGUSR1).await.unwrap();
            user.get::<u64>(seen)
        };
        user.sigaction(Signo::SIGUSR1, handler, SaFlags::ONSTACK)
            .await;
        assert!(below.contains(&frame().await));
        let base = give_stack(&user).await;
        assert!((base..base + STACK).contains(&frame().await));
        user.sigaction(Signo::SIGUSR1, handler, SaFlags::empty())
            .await;
        assert!(below.contains(&frame().await));
        assert_eq!(sigstk(&user).await.ss_flags, 0);
    });
}

#[test]
pub(crate) fn a_handler_within_a_handler_goes_below_it_and_both_return() {
    run(|user| async move {
        let base = give_stack(&user).await;
        let inner = user.put(&0u64);
        let within = user.handler(move |user, [_, _, frame]| async move {
            user.memory().write(&frame.to_le_bytes(), inner).unwrap();
            assert_eq!(sigstk(&user).await.ss_flags, SS_ONSTACK);
        });
        let handler = user.handler(move |user, [_, _, outer]| async move {
            user.kill(PID, Signo::SIGUSR2).await.unwrap();
            assert!((base..outer).contains(&user.get::<u64>(inner)));
            assert_eq!(sigstk(&user).await.ss_flags, SS_ONSTACK);
            let stack = context(&user).await.uc_stack;
            assert_eq!((stack.ss_sp, stack.ss_size), (base, STACK));
        });
        user.sigaction(Signo::SIGUSR1, handler, SaFlags::ONSTACK)
            .await;
        user.sigaction(Signo::SIGUSR2, within, SaFlags::ONSTACK)
            .await;
        user.kill(PID, Signo::SIGUSR1).await.unwrap();
        assert_eq!(sigstk(&user).await.ss_flags, 0);
    });
}

#[test]
pub(crate) fn a_context_says_whether_the_lwp_is_on_its_alternate_stack() {
    run(|user| async move {
        let base = give_stack(&user).await;
        let flags = async || sigstk(&user).await.ss_flags;
        install(&user, UcFlags::SETSTACK, 0).await;
        assert_eq!(flags().await, SS_ONSTACK);
        install(&user, UcFlags::SETSTACK, 0).await;
        assert_eq!(flags().await, SS_ONSTACK);
        install(&user, UcFlags::CLRSTACK, 0).await;
        assert_eq!(flags().await, 0);
        install(&user, UcFlags::CLRSTACK, 0).await;
        assert_eq!(flags().await, 0);
        // Nothing else is taken of a stack.
        install(&user, UcFlags::STACK, SS_ONSTACK | SS_DISABLE).await;
        assert_eq!(flags().await, SS_ONSTACK);
        install(&user, UcFlags::STACK, SS_DISABLE).await;
        assert_eq!(flags().await, 0);
        let stack = sigstk(&user).await;
        assert_eq!((stack.ss_sp, stack.ss_size), (base, STACK));
    });
}

#[test]
pub(crate) fn without_an_alternate_stack_a_context_leaves_it_disabled() {
    run(|user| async move {
        install(&user, UcFlags::STACK, 0).await;
        assert_eq!(sigstk(&user).await.ss_flags, SS_DISABLE);
        install(&user, UcFlags::CLRSTACK, 0).await;
        assert_eq!(sigstk(&user).await.ss_flags, SS_DISABLE);
    });
}

#[test]
pub(crate) fn a_context_goes_no_further_than_user_space() {
    run(|user| async move {
        let mut uc = context(&user).await;
        uc.uc_mcontext.gregs.rip = VM_MAXUSER_ADDRESS;
        let installed = user.call(nr::SYS_SETCONTEXT, &[user.put(&uc)]).await;
        assert_eq!(installed, Err(Errno::EINVAL));
    });
}

#[test]
pub(crate) fn the_frames_context_is_in_two_registers() {
    run(|user| async move {
        let handler = user.handler(|user, [_, info, frame]| async move {
            let uc = context(&user).await;
            assert_eq!(uc.uc_mcontext.gregs.r15, frame);
            assert!(info < frame);
        });
        user.sigaction(Signo::SIGUSR1, handler, SaFlags::empty())
            .await;
        user.kill(PID, Signo::SIGUSR1).await.unwrap();
    });
}

#[test]
pub(crate) fn upper_halves_survive_handlers_one_within_another() {
    run(|user| async move {
        let within = user.handler(|user, _| async move {
            assert_eq!(user.upper().await, 0);
            user.set_upper(3).await;
        });
        let handler = user.handler(|user, _| async move {
            assert_eq!(user.upper().await, 0);
            user.set_upper(2).await;
            user.kill(PID, Signo::SIGUSR2).await.unwrap();
            assert_eq!(user.upper().await, 2);
        });
        user.sigaction(Signo::SIGUSR1, handler, SaFlags::empty())
            .await;
        user.sigaction(Signo::SIGUSR2, within, SaFlags::empty())
            .await;
        user.set_upper(1).await;
        for _ in 0..3 {
            user.kill(PID, Signo::SIGUSR1).await.unwrap();
            assert_eq!(user.upper().await, 1);
        }
    });
}
