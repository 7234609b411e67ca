// SPDX-License-Identifier: BSD-2-Clause
// isolate WHAT ...: one attempt on the kernel, or on what all programs share, for tests/guest/isolation.c, which
// starts it and judges from inside. It ends as the kernel has to make it end; 64: no such attempt. What takes many
// calls stands in isolate_calls.c, short lives in isolate_swarm.c.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "isolate.h"
#include "must.h"

// ---- instructions that are not for ring 3 ----

static const uint8_t table[10] __attribute__((aligned(16)));

#define FORBIDDEN(id, ...)                                                                         \
	static void forbidden_##id(void)                                                           \
	{                                                                                          \
		__asm__ volatile(__VA_ARGS__);                                                     \
	}
FORBIDDEN(hlt, "hlt")
FORBIDDEN(cli, "cli")
FORBIDDEN(sti, "sti")
FORBIDDEN(wrmsr, "wrmsr" ::"a"(0), "c"(0xc0000082), "d"(0))
FORBIDDEN(rdmsr, "rdmsr" ::"c"(0xc0000080) : "rax", "rdx")
FORBIDDEN(lidt, "lidt %0" ::"m"(table))
FORBIDDEN(lgdt, "lgdt %0" ::"m"(table))
FORBIDDEN(lldt, "lldt %w0" ::"r"(0))
FORBIDDEN(ltr, "ltr %w0" ::"r"(0x28))
FORBIDDEN(lmsw, "lmsw %w0" ::"r"(0))
FORBIDDEN(clts, "clts")
FORBIDDEN(read_cr0, "mov %%cr0, %%rax" ::: "rax")
FORBIDDEN(write_cr0, "mov %0, %%cr0" ::"r"(0x80000011UL))
FORBIDDEN(read_cr3, "mov %%cr3, %%rax" ::: "rax")
FORBIDDEN(write_cr3, "mov %0, %%cr3" ::"r"(0UL))
FORBIDDEN(write_cr4, "mov %0, %%cr4" ::"r"(0x20UL))
FORBIDDEN(write_cr8, "mov %0, %%cr8" ::"r"(15UL))
FORBIDDEN(write_dr7, "mov %0, %%dr7" ::"r"(0x401UL))
FORBIDDEN(invlpg, "invlpg %0" ::"m"(table))
FORBIDDEN(wbinvd, "wbinvd")
FORBIDDEN(invd, "invd")
FORBIDDEN(rdpmc, "rdpmc" ::"c"(0) : "rax", "rdx")
FORBIDDEN(xsetbv, "xsetbv" ::"a"(1), "c"(0), "d"(0))
FORBIDDEN(swapgs, "swapgs")
FORBIDDEN(sysret, "sysretq")
FORBIDDEN(in, "inb $0x60, %%al" ::: "rax")
FORBIDDEN(out, "outb %%al, $0xf4" ::"a"(0))
FORBIDDEN(reset, "outb %%al, %%dx" ::"a"(6), "d"(0xcf9))
FORBIDDEN(ins, "mov %0, %%rdi; insb" ::"r"(table), "d"(0x60) : "rdi", "memory")
FORBIDDEN(int_page_fault, "int $14")
FORBIDDEN(int_double_fault, "int $8")
FORBIDDEN(int_irq, "int $32")
FORBIDDEN(int_80, "int $0x80")
FORBIDDEN(far_call, "pushq $8; lea 1f(%%rip), %%rax; push %%rax; lretq; 1:" ::: "rax", "memory")
FORBIDDEN(stack_selector, "mov %w0, %%ss" ::"r"(0x10))
FORBIDDEN(data_selector, "mov %w0, %%ds" ::"r"(0x2f0))
// IRET into ring 0, to code of ours, with the kernel's selectors.
FORBIDDEN(iret, "mov %%rsp, %%rax; pushq $0x10; push %%rax; pushfq; pushq $8; lea 1f(%%rip), "
		"%%rax; push %%rax; iretq; 1: hlt" ::
	      : "rax", "memory")
FORBIDDEN(stac, ".byte 0x0f, 0x01, 0xcb")
FORBIDDEN(vmcall_exit, ".byte 0x0f, 0x01, 0xc4") // VMXOFF
FORBIDDEN(undefined, "ud2")

static const struct {
	const char *name;
	void (*run)(void);
} forbidden[] = {
#define ROW(id)                                                                                    \
	{                                                                                          \
#id, forbidden_##id                                                                \
	}
    ROW(hlt),
    ROW(cli),
    ROW(sti),
    ROW(wrmsr),
    ROW(rdmsr),
    ROW(lidt),
    ROW(lgdt),
    ROW(lldt),
    ROW(ltr),
    ROW(lmsw),
    ROW(clts),
    ROW(read_cr0),
    ROW(write_cr0),
    ROW(read_cr3),
    ROW(write_cr3),
    ROW(write_cr4),
    ROW(write_cr8),
    ROW(write_dr7),
    ROW(invlpg),
    ROW(wbinvd),
    ROW(invd),
    ROW(rdpmc),
    ROW(xsetbv),
    ROW(swapgs),
    ROW(sysret),
    ROW(in),
    ROW(out),
    ROW(reset),
    ROW(ins),
    ROW(int_page_fault),
    ROW(int_double_fault),
    ROW(int_irq),
    ROW(int_80),
    ROW(far_call),
    ROW(stack_selector),
    ROW(data_selector),
    ROW(iret),
    ROW(stac),
    ROW(vmcall_exit),
    ROW(undefined),
};

static int do_forbidden(unsigned n)
{
	if (n >= sizeof(forbidden) / sizeof(forbidden[0]))
		return 64;
	forbidden[n].run();
	printf("%s was let pass\n", forbidden[n].name);
	return 1;
}

// ---- memory that is not the program's ----

static int touch(const char *how, uintptr_t address)
{
	volatile uint8_t *at = (volatile uint8_t *)address;

	if (*how == 'r')
		(void)*at;
	else if (*how == 'w')
		*at = 0x5a;
	else if (*how == 'a') // without changing a bit: a locked write all the same
		__asm__ volatile("lock orb $0, %0" : "+m"(*at));
	else
		((void (*)(void))address)();
	return 1;
}

static int touch_vdso(void)
{
	uintptr_t vdso = getauxval(AT_SYSINFO_EHDR);

	MUST(vdso && *(volatile uint8_t *)vdso == 0x7f);
	*(volatile uint8_t *)vdso = 0;
	return 1;
}

// For the kernel's own test of SMAP, SMEP and NX: a page at that address, with the instruction RET at its start.
static int hold(uintptr_t address)
{
	uint8_t *page = mmap((void *)address, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	MUST(page == (void *)address);
	page[0] = 0xc3;
	for (;;)
		pause();
}

static int deep(int n)
{
	volatile char frame[4096];

	frame[0] = (char)n;
	return deep(n + 1) + frame[0];
}

// ---- flags and stack pointers ----

#define FLAGS_AC_NT_DF "$0x44400"

// Calls, page faults and interrupts with alignment check, nested task and direction set.
static int odd_flags(void)
{
	enum { PAGES = 2000 };
	uint8_t *pages =
	    mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t flags, wrong = 0;

	MUST(pages != MAP_FAILED);
	for (unsigned n = 0; n < PAGES; n++) {
		__asm__ volatile("pushfq\n orq " FLAGS_AC_NT_DF ", (%%rsp)\n popfq\n"
				 "syscall\n"
				 "movb $1, (%2)\n"
				 "mov $20000, %%ecx\n 1: dec %%ecx\n jnz 1b\n"
				 "pushfq\n pop %0\n"
				 "pushfq\n andq $~0x44400, (%%rsp)\n popfq\n"
				 : "=&r"(flags)
				 : "a"(SYS_getpid), "r"(pages + n * 4096)
				 : "rcx", "r11", "memory", "cc");
		wrong |= ~flags & 0x40400; // they are the program's, and stay
	}
	MUST(!wrong);
	return 0;
}

static volatile sig_atomic_t steps;
static void on_step(int number)
{
	steps++;
}

static int single_steps(void)
{
	signal(SIGTRAP, on_step);
	__asm__ volatile("pushfq\n orq $0x100, (%%rsp)\n popfq\n"
			 "nop\n syscall\n nop\n"
			 "pushfq\n andq $~0x100, (%%rsp)\n popfq\n nop\n" ::"a"(SYS_getpid)
			 : "rcx", "r11", "memory", "cc");
	MUST(steps >= 3 && steps <= 12);
	return 0;
}

static const uint64_t bad_stacks[] = {
    0,
    8,
    0x1000,
    0x7ffffffff000,
    0x7fffffffffff,
    0x800000000000,
    0xffff800000100000,
    0xffffffff80100000,
    ~0UL,
};
#define BAD_STACKS (sizeof(bad_stacks) / sizeof(bad_stacks[0]))

// A call needs no stack of the program's, and an interrupt neither.
static int odd_stacks(void)
{
	for (unsigned n = 0; n < BAD_STACKS; n++) {
		int64_t pid;

		__asm__ volatile("mov %%rsp, %%r12\n mov %2, %%rsp\n"
				 "mov $3000000, %%ecx\n 1: dec %%ecx\n jnz 1b\n"
				 "syscall\n"
				 "mov %%r12, %%rsp\n"
				 : "=a"(pid)
				 : "a"(SYS_getpid), "r"(bad_stacks[n])
				 : "rcx", "r11", "r12", "memory", "cc");
		MUST(pid == getpid());
	}
	return 0;
}

// An exception whose signal has a handler, but no stack for its frame.
static int stackless_fault(unsigned n)
{
	uint64_t stack = bad_stacks[n % BAD_STACKS];

	if (n >= 4 * BAD_STACKS)
		return 64;
	signal(SIGILL, on_step);
	signal(SIGTRAP, on_step);
	signal(SIGSEGV, on_step);
	signal(SIGFPE, on_step);
	switch (n / BAD_STACKS) {
	case 0:
		__asm__ volatile("mov %0, %%rsp; ud2" ::"r"(stack) : "memory");
	case 1:
		__asm__ volatile("mov %0, %%rsp; int3; hlt" ::"r"(stack) : "memory");
	case 2:
		__asm__ volatile("mov %0, %%rsp; push %%rax; hlt" ::"r"(stack) : "memory");
	default:
		__asm__ volatile("mov %0, %%rsp; xor %%ecx, %%ecx; div %%ecx" ::"r"(stack)
				 : "memory");
	}
	return 1;
}

// ---- what all programs share, up to the limits ----

static int all_memory(void)
{
	for (;;) {
		volatile char *p =
		    mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return 0;
		for (unsigned n = 0; n < 1 << 20; n += 4096)
			p[n] = 1;
	}
}

static int all_descriptors(void)
{
	int fd, last = 0;

	while ((fd = open("/dev/zero", O_RDONLY)) >= 0)
		last = fd;
	MUST(errno == EMFILE && last == 1023);
	MUST(dup(0) < 0 && errno == EMFILE);
	MUST(pipe((int[2]){0}) < 0 && errno == EMFILE);
	return 0;
}

static void *wait_for_ever(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static int all_threads(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	unsigned count = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 16384);
	while (!pthread_create(&thread, &attr, wait_for_ever, NULL))
		count++;
	MUST(count > 100 && count < 1024);
	return 0;
}

// Until there is no more; the children wait until the parent's end of the pipe is gone.
static int all_processes(void)
{
	int ends[2];
	pid_t child;

	MUST(!pipe(ends));
	while ((child = fork()) > 0)
		;
	if (!child) {
		close(ends[1]);
		_exit((int)read(ends[0], &child, 1));
	}
	MUST(errno == EAGAIN || errno == ENOMEM);
	return 0;
}

static void nest(int number)
{
	steps++;
	if (steps % 7 == 0)
		raise(SIGUSR1 + (number == SIGUSR1 ? 2 : 0));
}

// Everybody sends everybody signals, with handlers that send more.
static int signal_storm(void)
{
	enum { CHILDREN = 4, ROUNDS = 1000 };
	pid_t pids[CHILDREN];
	int status;

	for (int n = 1; n < 65; n++)
		if (n != SIGCHLD && n != SIGSEGV && n != SIGILL && n != SIGTERM)
			signal(n, nest);
	for (unsigned n = 0; n < CHILDREN; n++) {
		pids[n] = fork();
		MUST(pids[n] >= 0);
		if (!pids[n])
			for (unsigned i = 0;; i++)
				i < ROUNDS
				    ? kill(getppid(), i % 2 ? SIGUSR1 : SIGRTMIN + (int)(i % 30))
				    : pause();
	}
	for (unsigned i = 0; i < ROUNDS; i++)
		kill(pids[i % CHILDREN], SIGRTMIN + (int)(i % 30));
	for (unsigned n = 0; n < CHILDREN; n++)
		kill(pids[n], SIGKILL);
	for (unsigned n = 0; n < CHILDREN; n++) {
		while (waitpid(pids[n], &status, 0) < 0)
			MUST(errno == EINTR);
		MUST(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 0) : 0,
		 address = argc > 3 ? strtoull(argv[3], NULL, 0) : 0;

	static const struct {
		const char *name;
		int (*run)(void);
	} plain[] = {
	    {"vdso", touch_vdso},      {"flags", odd_flags},
	    {"steps", single_steps},   {"stacks", odd_stacks},
	    {"memory", all_memory},    {"descriptors", all_descriptors},
	    {"threads", all_threads},  {"processes", all_processes},
	    {"signals", signal_storm},
	};
	for (unsigned i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (!strcmp(what, plain[i].name))
			return plain[i].run();
	if (!strcmp(what, "forbidden"))
		return do_forbidden((unsigned)n);
	if (!strcmp(what, "touch"))
		return touch(argv[2], address);
	if (!strcmp(what, "hold"))
		return hold(n);
	if (!strcmp(what, "overflow"))
		return deep(0);
	if (!strcmp(what, "fault"))
		return stackless_fault((unsigned)n);
	if (!strcmp(what, "call"))
		return bad_arguments((long)n, address);
	if (!strcmp(what, "swarm"))
		return swarm(n, (unsigned)address);
	return !strcmp(what, "exit") ? (int)n : 64;
}
