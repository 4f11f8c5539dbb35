/* What the kernel writes for signals: frames, contexts, siginfo, dispositions, stacks. */
#include "start.h"

#include <sys/siginfo.h>
#include <sys/ucontext.h>
#include <sys/wait.h>
#include <machine/trap.h>
#include <signal.h>

#define ALT 65536

static char alternate[ALT] __attribute__((aligned(16)));
static siginfo_t info;
static ucontext_t context;
static volatile int handled, on_alternate;
static stack_t stack_inside;
static unsigned long skip;

extern char trampoline[];
/* Where a handler returns to: the context is in R15. */
__asm__("trampoline:\n\tmov %r15, %rdi\n\tmov $307+1, %eax\n\tsyscall\n\tud2");

static void
handler(int signo, siginfo_t *si, void *arg)
{
	ucontext_t *uc = arg;
	char here;

	(void)signo;
	info = *si;
	context = *uc;
	on_alternate = &here >= alternate && &here < alternate + ALT;
	CALL2(SYS___sigaltstack14, 0, &stack_inside);
	uc->uc_mcontext.__gregs[_REG_RIP] += skip;
	skip = 0;
	handled++;
}

static long
catch_signal(int signo, int flags, struct sigaction *old)
{
	struct sigaction act;

	memset(&act, 0, sizeof(act));
	act.sa_sigaction = handler;
	act.sa_flags = flags;
	act.sa_mask.__bits[0] = 1u << (SIGUSR2 - 1);
	return call(SYS___sigaction_sigtramp, signo, (long)&act, (long)old, (long)trampoline, 2, 0);
}

static int
action_comes_back(void)
{
	struct sigaction old;

	memset(&old, 0xa5, sizeof(old));
	EQUAL(catch_signal(SIGUSR1, SA_SIGINFO | SA_RESTART | SA_ONSTACK, &old), 0);
	ENSURE(old.sa_handler == SIG_DFL);
	memset(&old, 0xa5, sizeof(old));
	EQUAL(catch_signal(SIGUSR1, SA_SIGINFO, &old), 0);
	ENSURE(old.sa_sigaction == handler);
	EQUAL(old.sa_flags, SA_SIGINFO | SA_RESTART | SA_ONSTACK);
	/* The signal itself has been added. */
	EQUAL(old.sa_mask.__bits[0], 1u << (SIGUSR1 - 1) | 1u << (SIGUSR2 - 1));
	EQUAL(old.sa_mask.__bits[1] | old.sa_mask.__bits[2] | old.sa_mask.__bits[3], 0);
	return 1;
}

static int
stacks_come_back(void)
{
	stack_t new, old;

	memset(&old, 0xa5, sizeof(old));
	EQUAL(CALL2(SYS___sigaltstack14, 0, &old), 0);
	EQUAL(old.ss_flags, SS_DISABLE);
	new.ss_sp = alternate;
	new.ss_size = ALT;
	new.ss_flags = 0;
	EQUAL(CALL2(SYS___sigaltstack14, &new, 0), 0);
	EQUAL(CALL2(SYS___sigaltstack14, 0, &old), 0);
	EQUAL(old.ss_sp, alternate);
	EQUAL(old.ss_size, ALT);
	EQUAL(old.ss_flags, 0);
	return 1;
}

/* Registers that a kill(2) of ourselves leaves in the frame. */
struct registers {
	unsigned long rbx, rbp, r8, r9, r10, r12, r13, r14, r15, rsp, rip, rax;
	unsigned long xmm5[2];
	unsigned int mxcsr;
};

static struct registers before;

NOINLINE static long
kill_self(long pid, long signo, long nr)
{
	long result;

	before.rbx = 0x1111;
	before.r8 = 0x8888;
	before.r9 = 0x9999;
	before.r10 = 0xaaaa;
	before.r12 = 0xcccc;
	before.r13 = 0xdddd;
	before.r14 = 0xeeee;
	before.r15 = 0xffff;
	before.xmm5[0] = 0x0123456789abcdef;
	before.xmm5[1] = 0xfedcba9876543210;
	before.mxcsr = 0x1f80 | 0x2000;
	__asm__ volatile(
	    "ldmxcsr %[mxcsr]\n"
	    "\tmovups %[xmm5], %%xmm5\n"
	    "\tmov $0x1111, %%ebx\n"
	    "\tmov $0x8888, %%r8d\n"
	    "\tmov $0x9999, %%r9d\n"
	    "\tmov $0xaaaa, %%r10d\n"
	    "\tmov $0xcccc, %%r12d\n"
	    "\tmov $0xdddd, %%r13d\n"
	    "\tmov $0xeeee, %%r14d\n"
	    "\tmov $0xffff, %%r15d\n"
	    "\tmov %%rsp, %[rsp]\n"
	    "\tmov %%rbp, %[rbp]\n"
	    "\tlea 1f(%%rip), %%rcx\n"
	    "\tmov %%rcx, %[rip]\n"
	    "\tsyscall\n"
	    "1:\n"
	    "\tmovl $0x1f80, %[mxcsr]\n"
	    "\tldmxcsr %[mxcsr]\n"
	    : "=a"(result), [mxcsr] "+m"(before.mxcsr), [rsp] "=m"(before.rsp),
	      [rbp] "=m"(before.rbp), [rip] "=m"(before.rip)
	    : "a"(nr), "D"(pid), "S"(signo), [xmm5] "m"(before.xmm5)
	    : "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm5",
	      "memory");
	return result;
}

static int
frame_holds_the_registers(void)
{
	const __greg_t *g = context.uc_mcontext.__gregs;
	const char *fx = (const char *)&context.uc_mcontext.__fpregs;
	unsigned long low, high;
	unsigned int mxcsr;

	EQUAL(catch_signal(SIGUSR1, SA_SIGINFO | SA_ONSTACK, 0), 0);
	handled = 0;
	EQUAL(kill_self(CALL0(SYS_getpid), SIGUSR1, SYS_kill), 0);
	EQUAL(handled, 1);
	EQUAL(g[_REG_RBX], 0x1111);
	EQUAL(g[_REG_R8], 0x8888);
	EQUAL(g[_REG_R9], 0x9999);
	EQUAL(g[_REG_R10], 0xaaaa);
	EQUAL(g[_REG_R12], 0xcccc);
	EQUAL(g[_REG_R13], 0xdddd);
	EQUAL(g[_REG_R14], 0xeeee);
	EQUAL(g[_REG_R15], 0xffff);
	EQUAL(g[_REG_RSP], before.rsp);
	EQUAL(g[_REG_RBP], before.rbp);
	EQUAL(g[_REG_RIP], before.rip);
	EQUAL(g[_REG_RAX], 0);
	EQUAL(g[_REG_RSI], SIGUSR1);
	EQUAL(g[_REG_CS] & 3, 3);
	EQUAL(g[_REG_SS] & 3, 3);
	memcpy(&low, fx + 160 + 5 * 16, 8);
	memcpy(&high, fx + 160 + 5 * 16 + 8, 8);
	memcpy(&mxcsr, fx + 24, 4);
	EQUAL(low, 0x0123456789abcdef);
	EQUAL(high, 0xfedcba9876543210);
	EQUAL(mxcsr & 0xffc0, 0x1f80 | 0x2000);
	return 1;
}

static int
frame_holds_mask_stack_and_flags(void)
{
	EQUAL(context.uc_flags & (_UC_SIGMASK | _UC_CPU | _UC_FPU),
	    _UC_SIGMASK | _UC_CPU | _UC_FPU);
	ENSURE(context.uc_link == 0);
	EQUAL(context.uc_sigmask.__bits[0], 0);
	ENSURE(on_alternate);
	EQUAL(stack_inside.ss_flags, SS_ONSTACK);
	EQUAL(stack_inside.ss_sp, alternate);
	return 1;
}

static int
info_of_kill(void)
{
	EQUAL(info.si_signo, SIGUSR1);
	EQUAL(info.si_errno, 0);
	EQUAL(info.si_code, SI_USER);
	EQUAL(info.si_pid, CALL0(SYS_getpid));
	EQUAL(info.si_uid, CALL0(SYS_getuid));
	return 1;
}

static int
info_of_lwp_kill(void)
{
	handled = 0;
	EQUAL(CALL2(SYS__lwp_kill, CALL0(SYS__lwp_self), SIGUSR1), 0);
	EQUAL(handled, 1);
	EQUAL(info.si_code, SI_LWP);
	EQUAL(info.si_pid, CALL0(SYS_getpid));
	return 1;
}

NOINLINE static void
touch(volatile char *at)
{
	/* Two bytes long: c6 00 and the byte would be three. */
	__asm__ volatile("movb %%al, (%0)" : : "r"(at), "a"(1) : "memory");
}

static int
info_of_a_fault(void)
{
	EQUAL(catch_signal(SIGSEGV, SA_SIGINFO, 0), 0);
	handled = 0;
	skip = 2;
	touch((char *)0x2345);
	EQUAL(handled, 1);
	EQUAL(info.si_signo, SIGSEGV);
	EQUAL(info.si_code, SEGV_MAPERR);
	EQUAL(info.si_addr, 0x2345);
	EQUAL(info.si_trap, T_PAGEFLT);
	EQUAL(context.uc_mcontext.__gregs[_REG_TRAPNO], T_PAGEFLT);
	/* A write, by the user, of what is not there. */
	EQUAL(context.uc_mcontext.__gregs[_REG_ERR] & 7, 6);
	handled = 0;
	skip = 2;
	touch(trampoline);
	EQUAL(handled, 1);
	EQUAL(info.si_code, SEGV_ACCERR);
	EQUAL(info.si_addr, trampoline);
	return 1;
}

static int
info_of_a_division(void)
{
	long quotient = 7;

	EQUAL(catch_signal(SIGFPE, SA_SIGINFO, 0), 0);
	handled = 0;
	/* div %ecx is two bytes. */
	skip = 2;
	__asm__ volatile("div %%ecx" : "+a"(quotient) : "c"(0), "d"(0));
	EQUAL(handled, 1);
	EQUAL(info.si_signo, SIGFPE);
	EQUAL(info.si_code, FPE_INTDIV);
	EQUAL(info.si_trap, T_DIVIDE);
	EQUAL(info.si_addr, context.uc_mcontext.__gregs[_REG_RIP]);
	return 1;
}

static int
info_of_a_child(void)
{
	long child;
	int status = -1;

	EQUAL(catch_signal(SIGCHLD, SA_SIGINFO, 0), 0);
	handled = 0;
	child = CALL0(SYS_fork);
	if (child == 0)
		CALL1(SYS_exit, 5);
	while (CALL4(SYS___wait450, child, &status, 0, 0) != child)
		;
	ENSURE(WIFEXITED(status));
	EQUAL(WEXITSTATUS(status), 5);
	/* The signal may come after the child was waited for. */
	while (!handled)
		CALL0(SYS_sched_yield);
	EQUAL(info.si_signo, SIGCHLD);
	EQUAL(info.si_code, CLD_EXITED);
	EQUAL(info.si_pid, child);
	EQUAL(info.si_uid, CALL0(SYS_getuid));
	EQUAL(info.si_status, 5);
	return 1;
}

static int
info_of_sigtimedwait(void)
{
	sigset_t set;
	siginfo_t taken;
	struct timespec { long sec, nsec; } limit = { 1, 0 };

	memset(&set, 0, sizeof(set));
	set.__bits[1] = 1u << (SIGRTMIN - 33);
	EQUAL(CALL3(SYS___sigprocmask14, SIG_BLOCK, &set, 0), 0);
	EQUAL(CALL2(SYS_kill, CALL0(SYS_getpid), SIGRTMIN), 0);
	memset(&taken, 0xa5, sizeof(taken));
	EQUAL(CALL3(SYS_____sigtimedwait50, &set, &taken, &limit), SIGRTMIN);
	EQUAL(taken.si_signo, SIGRTMIN);
	EQUAL(taken.si_code, SI_USER);
	EQUAL(taken.si_pid, CALL0(SYS_getpid));
	return 1;
}

static int
masks_come_back(void)
{
	sigset_t set, old;

	memset(&set, 0, sizeof(set));
	memset(&old, 0xa5, sizeof(old));
	set.__bits[0] = 1u << (SIGHUP - 1) | 1u << (SIGKILL - 1);
	set.__bits[1] = 1u << (SIGRTMAX - 33);
	EQUAL(CALL3(SYS___sigprocmask14, SIG_SETMASK, &set, 0), 0);
	EQUAL(CALL3(SYS___sigprocmask14, SIG_BLOCK, 0, &old), 0);
	EQUAL(old.__bits[0], 1u << (SIGHUP - 1));
	EQUAL(old.__bits[1], 1u << (SIGRTMAX - 33));
	EQUAL(old.__bits[2] | old.__bits[3], 0);
	return 1;
}

int
program(void)
{
	check("c/sigaction", action_comes_back);
	check("c/sigaltstack", stacks_come_back);
	check("c/frame/registers", frame_holds_the_registers);
	check("c/frame/rest", frame_holds_mask_stack_and_flags);
	check("c/siginfo/kill", info_of_kill);
	check("c/siginfo/_lwp_kill", info_of_lwp_kill);
	check("c/siginfo/SIGSEGV", info_of_a_fault);
	check("c/siginfo/SIGFPE", info_of_a_division);
	check("c/siginfo/SIGCHLD", info_of_a_child);
	check("c/siginfo/sigtimedwait", info_of_sigtimedwait);
	check("c/sigset", masks_come_back);
	return failures;
}
