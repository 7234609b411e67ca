// SPDX-License-Identifier: BSD-2-Clause
// harm WHAT: does something that a program may not do. The kernel must end it (or refuse), and nothing else.
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile uint64_t sink;

static int deep(int n)
{
	volatile char frame[4096];

	frame[0] = (char)n;
	return deep(n + 1) + frame[0];
}

static void eat_memory(void)
{
	for (;;) {
		char *p = malloc(1 << 20);

		if (!p)
			exit(12);
		memset(p, 1, 1 << 20);
	}
}

// Until there is no more. Whether this process then ends or is ended for want of memory, its children see the
// pipe close.
static void fork_for_ever(void)
{
	int ends[2];
	pid_t child;

	if (pipe(ends))
		exit(1);
	while ((child = fork()) > 0)
		;
	if (!child) {
		close(ends[1]);
		exit((int)read(ends[0], &child, 1));
	}
	exit(11);
}

// Every call with addresses of the kernel, of nothing, and at the border.
static void bad_pointers(void)
{
	static const uint64_t bad[] = {
	    40,	 0xfff, 0x7ffffffff000, 0x800000000000, 0xffff800000000000, 0xffffffff80100000,
	    ~0UL};

	int zero = open("/dev/zero", O_RDWR);

	close(0); // what half of the addresses are as a descriptor: it would wait for keys

	for (long call = 0; call < 450; call++) {
		if (call == SYS_exit || call == SYS_exit_group || call == SYS_rt_sigreturn ||
		    call == SYS_pause || call == SYS_fork || call == SYS_vfork ||
		    call == SYS_clone || call == SYS_rt_sigsuspend || call == SYS_kill ||
		    call == SYS_tkill || call == SYS_tgkill || call == SYS_brk ||
		    call == SYS_munmap || call == SYS_mremap || call == SYS_wait4 ||
		    call == SYS_alarm || call == SYS_arch_prctl || call == SYS_poll ||
		    call == SYS_select || call == SYS_mprotect || call == SYS_madvise ||
		    call == SYS_close || call == SYS_rt_sigprocmask || call == SYS_futex)
			continue;
		for (unsigned n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
			syscall(call, bad[n], bad[n], bad[n], bad[n], bad[n], bad[n]);
			syscall(call, zero, bad[n], 64, bad[n], bad[n], bad[n]);
			syscall(call, -100, bad[n], bad[n], 64, 0, 0);
		}
	}
	puts("bad pointers were refused");
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	setvbuf(stdout, NULL, _IONBF, 0);
	if (!strcmp(what, "null"))
		sink = *(volatile uint64_t *)0;
	else if (!strcmp(what, "read"))
		sink = *(volatile uint64_t *)0xffffffff80100000;
	else if (!strcmp(what, "direct"))
		sink = *(volatile uint64_t *)0xffff800000100000;
	else if (!strcmp(what, "write"))
		*(volatile uint64_t *)0xffffffff80100000 = 1;
	else if (!strcmp(what, "jump"))
		((void (*)(void))0xffffffff80100000)();
	else if (!strcmp(what, "noncanonical"))
		((void (*)(void))0x800000000000)();
	else if (!strcmp(what, "text"))
		*(volatile char *)(uintptr_t)main = 0x90;
	else if (!strcmp(what, "data")) {
		static char code[] = {(char)0xc3};

		((void (*)(void))(uintptr_t)code)();
	} else if (!strcmp(what, "stack"))
		return deep(0);
	else if (!strcmp(what, "hlt"))
		__asm__ volatile("hlt");
	else if (!strcmp(what, "cli"))
		__asm__ volatile("cli");
	else if (!strcmp(what, "port"))
		__asm__ volatile("outb %%al, $0xf4" ::"a"(0));
	else if (!strcmp(what, "cr3"))
		__asm__ volatile("mov %%cr3, %%rax" ::: "rax");
	else if (!strcmp(what, "divide")) {
		int zero = 0;

		__asm__ volatile("xor %%edx, %%edx; idivl %0" : "+r"(zero)::"rax", "rdx");
	} else if (!strcmp(what, "ud"))
		__asm__ volatile("ud2");
	else if (!strcmp(what, "gs"))
		__asm__ volatile("mov $0x2b, %%eax; mov %%eax, %%gs; mov %%gs:0, %%rax" ::: "rax");
	else if (!strcmp(what, "memory"))
		eat_memory();
	else if (!strcmp(what, "forks"))
		fork_for_ever();
	else if (!strcmp(what, "pointers"))
		bad_pointers();
	else if (!strcmp(what, "spin"))
		for (;;)
			sink++;
	else
		return 64;
	return 0;
}
