/* What the kernel writes for LWPs: contexts, lwpctl, kinfo_lwp, times, names. */
#include "start.h"

#include <sys/lwpctl.h>
#include <sys/param.h>
#include <sys/sysctl.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include <errno.h>
#include <lwp.h>
#include <time.h>

#define STACK 65536
#define MS 1000000L

static char stack[STACK] __attribute__((aligned(16)));
static volatile long stage, result;
static struct timespec rest;
static struct lwpctl *volatile block;

/* Parks for ten seconds, and says what came of it. */
static void
parker(long arg)
{
	stage = arg;
	rest.tv_sec = 10;
	rest.tv_nsec = 0;
	CALL2(SYS__lwp_ctl, LWPCTL_FEATURE_CURCPU | LWPCTL_FEATURE_PCTR, &block);
	stage = 2;
	result = CALL6(SYS____lwp_park60, CLOCK_MONOTONIC, 0, &rest, 0, 0, 0);
	CALL0(SYS__lwp_exit);
}

static struct kinfo_lwp records[8];

/* The record of an LWP. */
static struct kinfo_lwp *
look_up(lwpid_t lid)
{
	int mib[5] = { CTL_KERN, KERN_LWP, 0, sizeof(struct kinfo_lwp), 8 };
	size_t len = sizeof(records), i;

	mib[2] = (int)CALL0(SYS_getpid);
	memset(records, 0xa5, sizeof(records));
	if (CALL6(SYS___sysctl, mib, 5, records, &len, 0, 0) != 0)
		return 0;
	for (i = 0; i < len / sizeof(struct kinfo_lwp); i++)
		if (records[i].l_lid == lid)
			return &records[i];
	return 0;
}

static lwpid_t lid;

static int
context_of_getcontext_starts_an_lwp(void)
{
	ucontext_t uc;

	memset(&uc, 0xa5, sizeof(uc));
	EQUAL(CALL1(SYS_getcontext, &uc), 0);
	EQUAL(uc.uc_flags & (_UC_SIGMASK | _UC_STACK | _UC_CPU | _UC_FPU),
	    _UC_SIGMASK | _UC_STACK | _UC_CPU | _UC_FPU);
	ENSURE(uc.uc_link == 0);
	ENSURE(_UC_MACHINE_SP(&uc) < (unsigned long)&uc + 4096);
	uc.uc_mcontext.__gregs[_REG_RIP] = (long)parker;
	uc.uc_mcontext.__gregs[_REG_RDI] = 1;
	uc.uc_mcontext.__gregs[_REG_RSP] = (long)(stack + STACK - 8);
	uc.uc_flags &= ~_UC_TLSBASE;
	EQUAL(CALL3(SYS__lwp_create, &uc, 0, &lid), 0);
	ENSURE(lid > 0);
	while (stage != 2)
		CALL0(SYS_sched_yield);
	return 1;
}

static int
kinfo_of_a_parked_lwp(void)
{
	struct kinfo_lwp *info;

	EQUAL(CALL2(SYS__lwp_setname, lid, "parker"), 0);
	do {
		CALL0(SYS_sched_yield);
		info = look_up(lid);
		ENSURE(info != 0);
	} while (info->l_stat != LSSLEEP);
	EQUAL(info->l_pid, CALL0(SYS_getpid));
	ENSURE(same(info->l_wmesg, "parked"));
	ENSURE(same(info->l_name, "parker"));
	EQUAL(info->l_flag & L_DETACHED, 0);
	ENSURE(info->l_cpuid < 1024);
	return 1;
}

static int
kinfo_of_the_running_lwp(void)
{
	struct kinfo_lwp *info = look_up((lwpid_t)CALL0(SYS__lwp_self));

	ENSURE(info != 0);
	EQUAL(info->l_stat, LSONPROC);
	EQUAL(info->l_wmesg[0], 0);
	return 1;
}

static int
block_of_a_sleeper_and_of_the_dead(void)
{
	ENSURE(block != 0);
	EQUAL(block->lc_curcpu, LWPCTL_CPU_NONE);
	return 1;
}

static int
rest_of_the_time_comes_back(void)
{
	lwpid_t departed = 0;
	struct timespec ts = { 0, 20 * MS };
	struct lwpctl *dead = block;

	while (CALL2(SYS___nanosleep50, &ts, 0) != 0)
		;
	EQUAL(CALL2(SYS__lwp_unpark, lid, 0), 0);
	while (look_up(lid)->l_stat != LSZOMB)
		CALL0(SYS_sched_yield);
	EQUAL(dead->lc_curcpu, LWPCTL_CPU_EXITED);
	EQUAL(CALL2(SYS__lwp_wait, lid, &departed), 0);
	EQUAL(departed, lid);
	EQUAL(result, 0);
	EQUAL(rest.tv_sec, 9);
	ENSURE(rest.tv_nsec > 0 && rest.tv_nsec < 1000 * MS - 20 * MS);
	return 1;
}

static int
own_block_counts(void)
{
	struct lwpctl *mine = 0;

	EQUAL(CALL2(SYS__lwp_ctl, LWPCTL_FEATURE_CURCPU | LWPCTL_FEATURE_PCTR, &mine), 0);
	ENSURE(mine != 0);
	ENSURE(mine->lc_curcpu >= 0);
	return 1;
}

static int
names_come_back(void)
{
	char name[32];

	memset(name, 0xa5, sizeof(name));
	EQUAL(CALL2(SYS__lwp_setname, 0, "a name that is too long"), 0);
	EQUAL(CALL3(SYS__lwp_getname, 0, name, sizeof(name)), 0);
	EQUAL(length(name), 15);
	EQUAL((unsigned char)name[MAXCOMLEN - 1 + 1], 0xa5);
	return 1;
}

static int
timed_out_park_leaves_zero(void)
{
	struct timespec ts = { 0, 1 * MS };

	EQUAL(CALL6(SYS____lwp_park60, CLOCK_MONOTONIC, 0, &ts, 0, 0, 0), -ETIMEDOUT);
	EQUAL(ts.tv_sec, 0);
	EQUAL(ts.tv_nsec, 0);
	return 1;
}

static int
timers_come_back(void)
{
	struct itimerval set = { { 5, 250000 }, { 100, 0 } }, left;

	memset(&left, 0xa5, sizeof(left));
	EQUAL(CALL3(SYS___setitimer50, ITIMER_REAL, &set, 0), 0);
	EQUAL(CALL2(SYS___getitimer50, ITIMER_REAL, &left), 0);
	EQUAL(left.it_interval.tv_sec, 5);
	EQUAL(left.it_interval.tv_usec, 250000);
	EQUAL(left.it_value.tv_sec, 99);
	ENSURE(left.it_value.tv_usec >= 0 && left.it_value.tv_usec < 1000000);
	return 1;
}

int
program(void)
{
	check("c/getcontext", context_of_getcontext_starts_an_lwp);
	check("c/kinfo_lwp/parked", kinfo_of_a_parked_lwp);
	check("c/kinfo_lwp/running", kinfo_of_the_running_lwp);
	check("c/lwpctl/asleep", block_of_a_sleeper_and_of_the_dead);
	check("c/park/rest", rest_of_the_time_comes_back);
	check("c/lwpctl/own", own_block_counts);
	check("c/name", names_come_back);
	check("c/park/ETIMEDOUT", timed_out_park_leaves_zero);
	check("c/itimerval", timers_come_back);
	return failures;
}
