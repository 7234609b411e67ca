// SPDX-License-Identifier: BSD-2-Clause
// What the fuzzer does beside plain calls, mostly in a process that is spent for it: forks of every kind, signal frames
// that were tampered with, flags and segments as no compiler sets them, and instructions at random.
#define _GNU_SOURCE
#include "fuzz.h"
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static struct fuzz *now; // of the child that runs it

static uint64_t garbage(struct fuzz *f)
{
	return fuzz_argument(f, '*');
}

// The registers that the handler returns to, its mask, its floating-point image: a few words of them are anything.
static void tamper(int signal, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	uint64_t *words = (uint64_t *)(void *)u;
	char *image = (char *)u->uc_mcontext.fpregs;

	for (unsigned n = 1 + (unsigned)fuzz_below(now, 3); n > 0; n--) {
		switch (fuzz_below(now, 4)) {
		case 0:
			words[fuzz_below(now, offsetof(ucontext_t, uc_sigmask) / 8)] = garbage(now);
			break;
		case 1:
			u->uc_mcontext.gregs[fuzz_below(now, 19)] = (long long)garbage(now);
			break;
		case 2: // MXCSR and its mask, the XSAVE header: what must not reach the processor as it is
			if (image)
				memset(image + (fuzz_below(now, 2) ? 24 : 512) + fuzz_below(now, 8),
				       (int)fuzz_random(now), fuzz_below(now, 2) ? 8 : 64);
			break;
		default:
			u->uc_mcontext.fpregs = (void *)(uintptr_t)garbage(now);
			break;
		}
	}
}

static void return_from_a_signal(struct fuzz *f)
{
	struct sigaction a = {.sa_sigaction = tamper, .sa_flags = SA_SIGINFO};

	now = f;
	sigaction(SIGUSR2, &a, NULL);
	for (int n = 0; n < 4; n++)
		raise(SIGUSR2);
}

static void foreign_instructions(struct fuzz *f)
{
	uint8_t *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (code == MAP_FAILED)
		_exit(1);
	for (unsigned n = 0; n < 4096; n++)
		code[n] = (uint8_t)fuzz_random(f);
	((void (*)(void))(uintptr_t)code)();
}

// A call with the direction, alignment-check, nested-task or trap flag set, and from the last page that there is.
static void odd_flags(struct fuzz *f)
{
	uint64_t bits =
	    (fuzz_random(f) & (1UL << 8 | 1UL << 10 | 1UL << 14 | 1UL << 18 | 1UL << 21)) | 2;

	signal(SIGTRAP, SIG_IGN);
	__asm__ volatile(
	    "pushfq\n or %0, (%%rsp)\n popfq\n mov $39, %%eax\n syscall\n pushq $0x202\n popfq" ::
		"r"(bits)
	    : "rax", "rcx", "r11", "memory", "cc");
}

static void odd_segments(struct fuzz *f)
{
	uint16_t selector = (uint16_t)(fuzz_below(f, 2) ? fuzz_below(f, 64) : fuzz_random(f));

	if (fuzz_below(f, 2))
		__asm__ volatile("mov %0, %%gs" ::"r"(selector));
	else
		__asm__ volatile("mov %0, %%es" ::"r"(selector));
	__asm__ volatile("syscall" ::"a"(39) : "rcx", "r11", "memory");
}

static void odd_stack(struct fuzz *f)
{
	__asm__ volatile(
	    "mov %0, %%rsp\n mov $39, %%eax\n syscall\n push %%rax\n ud2" ::"r"(garbage(f))
	    : "rax", "rcx", "r11", "memory");
}

static void other_entries(struct fuzz *f)
{
	if (fuzz_below(f, 2))
		__asm__ volatile("int $0x80" ::"a"(20) : "memory");
	else
		__asm__ volatile("sysenter" ::"a"(20) : "memory");
}

static void in_a_child(struct fuzz *f, void (*what)(struct fuzz *f))
{
	pid_t pid = fork();

	if (!pid) {
		what(f);
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, fuzz_below(f, 3) ? 0 : WNOHANG);
}

static void any_clone(struct fuzz *f)
{
	uint64_t flags = fuzz_random(f) & fuzz_random(f) & 0x1ffffff00;

	switch (fuzz_below(f, 4)) {
	case 0:
		flags = CLONE_VM | CLONE_VFORK;
		break;
	case 1:
		flags = CLONE_VM | CLONE_SIGHAND | CLONE_FILES | CLONE_FS | CLONE_THREAD |
			(fuzz_random(f) & 0x1f80000);
		break;
	default:
		break;
	}
	if (syscall(SYS_clone, flags | SIGCHLD, flags & CLONE_THREAD ? garbage(f) : 0, garbage(f),
		    garbage(f), garbage(f)) == 0)
		_exit(0);
}

static void clone_in_a_child(struct fuzz *f)
{
	in_a_child(f, any_clone);
}

static void exec_itself(struct fuzz *f)
{
	char *const words[] = {"fuzz", "leaf", NULL}, *const none[] = {NULL};

	execve("/bin/fuzz", words, none);
}

static void many_calls(struct fuzz *f)
{
	fuzz_leaf(f);
}

void fuzz_odd(struct fuzz *f)
{
	static void (*const all[])(struct fuzz * f) = {return_from_a_signal,
						       foreign_instructions,
						       odd_flags,
						       odd_segments,
						       odd_stack,
						       other_entries,
						       any_clone,
						       clone_in_a_child,
						       exec_itself,
						       many_calls};

	in_a_child(f, all[fuzz_below(f, sizeof(all) / sizeof(all[0]))]);
}
