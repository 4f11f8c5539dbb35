/*
 * A NetBSD program without libc: entry point, system calls, and the form of checks.
 *
 * Programs here are compiled against NetBSD's own headers, so that what the kernel writes is read
 * by the definitions it was meant for. Each is one file, and includes this one. Output: `ok NAME` or
 * `FAIL NAME WHY` for each check; the exit status is the number of those that failed.
 */
#include <sys/types.h>
#include <sys/syscall.h>
#include <stdint.h>

/* NetBSD 10.1: without it a kernel takes the program for another system's. */
__asm__(".pushsection .note.netbsd.ident, \"a\", @note\n"
        ".balign 4\n.long 7, 4, 1\n.asciz \"NetBSD\"\n.balign 4\n.long 1001000000\n"
        ".popsection");

#define NOINLINE __attribute__((noinline))

/* Makes a system call: its value, or the error number, negative. */
static NOINLINE long
call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long value = nr;
	unsigned char failed;

	__asm__ volatile("syscall"
	    : "+a"(value), "=@ccc"(failed), "+d"(c), "+r"(r10), "+r"(r8), "+r"(r9)
	    : "D"(a), "S"(b)
	    : "rcx", "r11", "memory");
	return failed ? -value : value;
}

#define CALL0(nr) call(nr, 0, 0, 0, 0, 0, 0)
#define CALL1(nr, a) call(nr, (long)(a), 0, 0, 0, 0, 0)
#define CALL2(nr, a, b) call(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define CALL3(nr, a, b, c) call(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define CALL4(nr, a, b, c, d) call(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define CALL6(nr, a, b, c, d, e, f) \
	call(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* The compiler calls these. */
void *
memcpy(void *to, const void *from, size_t len)
{
	void *start = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
	return start;
}

void *
memset(void *to, int byte, size_t len)
{
	void *start = to;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(byte) : "memory");
	return start;
}

static inline int
same(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b)
		a++, b++;
	return *a == *b;
}

static inline size_t
length(const char *text)
{
	size_t len = 0;

	while (text[len] != '\0')
		len++;
	return len;
}

static inline void
say(const char *text)
{
	CALL3(SYS_write, 1, text, length(text));
}

/* A number, in hexadecimal, for messages. */
static inline const char *
hex(unsigned long value)
{
	static char text[19];
	char *at = text + sizeof(text) - 1;

	do {
		*--at = "0123456789abcdef"[value % 16];
		value /= 16;
	} while (value != 0);
	*--at = 'x';
	*--at = '0';
	return at;
}

static int failures;
static const char *failed_at;
static char failed_line[20];
static unsigned long got, wanted;

static inline int
is_equal(unsigned long a, unsigned long b)
{
	got = a;
	wanted = b;
	return a == b;
}

/* Leaves the check if the condition does not hold. */
#define ENSURE(holds)                                                                       \
	do {                                                                                \
		if (!(holds)) {                                                             \
			failed_at = #holds;                                                 \
			return 0;                                                           \
		}                                                                           \
	} while (0)
/* The same for two numbers that are to be equal; the message has both. */
#define EQUAL(a, b) ENSURE(is_equal((unsigned long)(a), (unsigned long)(b)))

static inline void
check(const char *name, int (*run)(void))
{
	got = wanted = 0;
	if (run()) {
		say("ok ");
		say(name);
	} else {
		failures++;
		say("FAIL ");
		say(name);
		say(" ");
		say(failed_at);
		say(": ");
		say(hex(got));
		say(", not ");
		say(hex(wanted));
	}
	say("\n");
}

int program(void);

/* The kernel enters here, with argc at the stack pointer. */
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall begin\n\tud2");

void
begin(void)
{
	CALL1(SYS_exit, program());
	__builtin_trap();
}
