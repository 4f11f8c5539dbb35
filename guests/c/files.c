/* What the kernel writes for files, events, sockets, limits and children. */
#include "start.h"

#include <sys/event.h>
#include <sys/dirent.h>
#include <sys/poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <fcntl.h>
#include <signal.h>

static int
stat_of_a_device(void)
{
	struct stat st;

	memset(&st, 0xa5, sizeof(st));
	EQUAL(CALL2(SYS___stat50, "/dev/null", &st), 0);
	ENSURE(S_ISCHR(st.st_mode));
	EQUAL(st.st_size, 0);
	ENSURE(st.st_nlink >= 1);
	ENSURE(st.st_mtimespec.tv_nsec >= 0 && st.st_mtimespec.tv_nsec < 1000000000);
	ENSURE(st.st_blksize > 0);
	memset(&st, 0xa5, sizeof(st));
	EQUAL(CALL2(SYS___stat50, "/", &st), 0);
	ENSURE(S_ISDIR(st.st_mode));
	EQUAL(st.st_uid, 0);
	return 1;
}

static int
statvfs_of_the_root(void)
{
	static struct statvfs fs;

	memset(&fs, 0xa5, sizeof(fs));
	EQUAL(CALL3(SYS___statvfs190, "/", &fs, ST_WAIT), 0);
	ENSURE(fs.f_frsize > 0 && fs.f_bsize > 0);
	ENSURE(fs.f_bavail <= fs.f_blocks);
	ENSURE(same(fs.f_mntonname, "/"));
	EQUAL(fs.f_namemax, 255);
	return 1;
}

static int
entries_of_a_directory(void)
{
	static char buf[8192];
	long fd = CALL3(SYS_open, "/proc/self", O_RDONLY, 0), len, at;
	int dot = 0, count = 0;

	ENSURE(fd >= 0);
	len = CALL3(SYS___getdents30, fd, buf, sizeof(buf));
	ENSURE(len > 0);
	for (at = 0; at < len; count++) {
		struct dirent *d = (struct dirent *)(buf + at);

		EQUAL(length(d->d_name), d->d_namlen);
		ENSURE(d->d_reclen >= d->d_namlen + 1 && d->d_reclen % 8 == 0);
		if (same(d->d_name, ".")) {
			dot = 1;
			EQUAL(d->d_type, DT_DIR);
		}
		at += d->d_reclen;
	}
	EQUAL(at, len);
	ENSURE(dot && count > 10);
	CALL1(SYS_close, fd);
	return 1;
}

static int
event_of_a_timer(void)
{
	struct kevent change, event;
	struct timespec limit = { 5, 0 };
	long kq = CALL0(SYS_kqueue);

	memset(&change, 0, sizeof(change));
	EV_SET(&change, 77, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, 3, (void *)0x1234567890);
	memset(&event, 0xa5, sizeof(event));
	EQUAL(CALL6(SYS___kevent100, kq, &change, 1, &event, 1, &limit), 1);
	EQUAL(event.ident, 77);
	EQUAL(event.filter, EVFILT_TIMER);
	EQUAL(event.data, 1);
	EQUAL(event.udata, 0x1234567890);
	CALL1(SYS_close, kq);
	return 1;
}

static long ends[2];

static int
pair_of_sockets(void)
{
	int fds[2];
	struct sockaddr_un un;
	int len = sizeof(un);

	EQUAL(CALL4(SYS_socketpair, AF_LOCAL, SOCK_STREAM, 0, fds), 0);
	ends[0] = fds[0];
	ends[1] = fds[1];
	memset(&un, 0xa5, sizeof(un));
	EQUAL(CALL3(SYS_getsockname, fds[0], &un, &len), 0);
	EQUAL(un.sun_family, AF_LOCAL);
	return 1;
}

/* A descriptor in a message: the control data are the header's to read. */
static int
descriptor_in_a_message(void)
{
	static union {
		struct cmsghdr header;
		char room[64];
	} out, in;
	char byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct msghdr msg;
	struct cmsghdr *cmsg = &out.header;
	int fd = 1;

	memset(&msg, 0, sizeof(msg));
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = &out;
	msg.msg_controllen = CMSG_SPACE(sizeof(int));
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	EQUAL(CALL3(SYS_sendmsg, ends[0], &msg, 0), 1);
	memset(&in, 0xa5, sizeof(in));
	msg.msg_control = &in;
	msg.msg_controllen = sizeof(in);
	EQUAL(CALL3(SYS_recvmsg, ends[1], &msg, 0), 1);
	cmsg = CMSG_FIRSTHDR(&msg);
	ENSURE(cmsg != 0);
	EQUAL(cmsg->cmsg_len, CMSG_LEN(sizeof(int)));
	EQUAL(cmsg->cmsg_level, SOL_SOCKET);
	EQUAL(cmsg->cmsg_type, SCM_RIGHTS);
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	ENSURE(fd > 2);
	EQUAL(CALL1(SYS_close, fd), 0);
	return 1;
}

static int
readiness_of_sockets(void)
{
	struct pollfd fds[2];

	EQUAL(CALL3(SYS_write, ends[0], "y", 1), 1);
	fds[0].fd = (int)ends[1];
	fds[0].events = POLLIN | POLLOUT;
	fds[0].revents = 0x5a5a;
	fds[1].fd = 777;
	fds[1].events = POLLIN;
	fds[1].revents = 0;
	EQUAL(CALL3(SYS_poll, fds, 2, 0), 2);
	EQUAL(fds[0].revents, POLLIN | POLLOUT);
	EQUAL(fds[1].revents, POLLNVAL);
	return 1;
}

static int
name_of_a_bound_socket(void)
{
	struct sockaddr_in sin;
	int len = sizeof(sin);
	long fd = CALL3(SYS___socket30, AF_INET, SOCK_DGRAM, 0);

	memset(&sin, 0, sizeof(sin));
	sin.sin_len = sizeof(sin);
	sin.sin_family = AF_INET;
	sin.sin_addr.s_addr = 0x0100007f;
	EQUAL(CALL3(SYS_bind, fd, &sin, sizeof(sin)), 0);
	memset(&sin, 0xa5, sizeof(sin));
	EQUAL(CALL3(SYS_getsockname, fd, &sin, &len), 0);
	EQUAL(len, sizeof(sin));
	EQUAL(sin.sin_len, sizeof(sin));
	EQUAL(sin.sin_family, AF_INET);
	EQUAL(sin.sin_addr.s_addr, 0x0100007f);
	ENSURE(sin.sin_port != 0);
	CALL1(SYS_close, fd);
	return 1;
}

static int
limits_and_usage(void)
{
	struct rlimit limit = { 1, 2 };
	struct rusage usage;

	EQUAL(CALL2(SYS_getrlimit, RLIMIT_NOFILE, &limit), 0);
	ENSURE(limit.rlim_cur > 2 && limit.rlim_cur <= limit.rlim_max);
	memset(&usage, 0xa5, sizeof(usage));
	EQUAL(CALL2(SYS___getrusage50, RUSAGE_SELF, &usage), 0);
	ENSURE(usage.ru_utime.tv_usec >= 0 && usage.ru_utime.tv_usec < 1000000);
	ENSURE(usage.ru_maxrss > 0 && usage.ru_maxrss < 1 << 30);
	return 1;
}

static int
status_of_a_killed_child(void)
{
	int status = -1;
	long child = CALL0(SYS_fork);

	if (child == 0)
		for (;;)
			CALL0(SYS_sched_yield);
	EQUAL(CALL2(SYS_kill, child, SIGKILL), 0);
	while (CALL4(SYS___wait450, child, &status, 0, 0) != child)
		;
	ENSURE(WIFSIGNALED(status));
	EQUAL(WTERMSIG(status), SIGKILL);
	return 1;
}

int
program(void)
{
	check("c/stat", stat_of_a_device);
	check("c/statvfs", statvfs_of_the_root);
	check("c/dirent", entries_of_a_directory);
	check("c/kevent", event_of_a_timer);
	check("c/sockaddr_un", pair_of_sockets);
	check("c/cmsghdr", descriptor_in_a_message);
	check("c/pollfd", readiness_of_sockets);
	check("c/sockaddr_in", name_of_a_bound_socket);
	check("c/rlimit", limits_and_usage);
	check("c/wait", status_of_a_killed_child);
	return failures;
}
