// SPDX-License-Identifier: BSD-2-Clause
// The end: says what happened on every sink, and stops. Contract in include/kernel/panic.h.
#include "kernel/panic.h"
#include "kernel/cmdline.h"
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/debug.h"
#include "kernel/kprintf.h"
#include "kernel/serial.h"
#include "kernel/thread.h"
#include "kernel/trace.h"
#include "kernel/trap.h"

#define TRACE_LINES 32

static bool (*test_hook)(const char *message);
static unsigned depth; // panics that have begun and not ended
static char messages[2][256];

void panic_set_test_hook(bool (*hook)(const char *message))
{
	test_hook = hook;
}

NORETURN static void leave(void)
{
	if (cmdline_selftest())
		cpu_debug_exit(0x7f);
	cpu_stop();
}

// Says nothing yet; returns what is to be said. One more panic on the way is said in a line, with what the first was
// about: it may have come before that was out (painting the screen). A third is not even said.
static const char *enter(const char *format, va_list args)
{
	char *text;

	__asm__ volatile("cli");
	kprintf_set_guard(NULL);
	if (++depth > 2)
		leave();
	text = messages[depth - 1];
	kvsnprintf(text, sizeof(messages[0]), format, args);
	if (depth == 1 && test_hook) {
		depth = 0; // the hook may jump away
		test_hook(text);
		depth = 1;
	} else if (depth == 1) {
		kprintf_flush(); // from here on the screen is painted at once, by us
	}
	serial_set_polled();
	return text;
}

static void print_first(void)
{
	if (depth > 1)
		kprintf("The panic before it: %s\n", messages[0]);
}

static void trace_line(void *ctx, const char *text)
{
	kprintf("  %s\n", text);
}

static void print_registers(const struct trap_frame *f)
{
	kprintf("rip %016lx  cs %04lx  rflags %08lx  error %lx  cr2 %016lx\n", f->rip, f->cs,
		f->rflags, f->error, read_cr2());
	kprintf("rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx\n", f->rax, f->rbx, f->rcx, f->rdx);
	kprintf("rsi %016lx  rdi %016lx  rbp %016lx  rsp %016lx\n", f->rsi, f->rdi, f->rbp, f->rsp);
	kprintf("r8  %016lx  r9  %016lx  r10 %016lx  r11 %016lx\n", f->r8, f->r9, f->r10, f->r11);
	kprintf("r12 %016lx  r13 %016lx  r14 %016lx  r15 %016lx\n", f->r12, f->r13, f->r14, f->r15);
}

static void print_context(void)
{
	const struct cpu *cpu = this_cpu();

	kprintf("on cpu %u, %s, thread %s%s%s\n", cpu->index,
		cpu->irq_depth	   ? "in an interrupt"
		: cpu->in_fast_wtd ? "in a fast WTD"
				   : "in a thread",
		cpu->current ? thread_name() : "boot", cpu->fast_owner ? ", WTD of " : "",
		cpu->fast_owner ? cpu->fast_owner : "");
}

static void print_rest(uintptr_t rip, uintptr_t rbp)
{
	print_context();
	kprintf("backtrace:\n");
	debug_backtrace(rip, rbp);
	kprintf("last events:\n");
	trace_dump(TRACE_LINES, trace_line, NULL);
	kprintf("stopped.\n");
}

void panic_at(const char *file, int line, const char *function, const char *format, ...)
{
	const char *message;
	va_list args;

	va_start(args, format);
	message = enter(format, args);
	va_end(args);
	kprintf("\nPANIC in %s (%s:%d): %s\n", function, file, line, message);
	print_first();
	if (depth == 1)
		print_rest((uintptr_t)__builtin_return_address(0),
			   *(uintptr_t *)__builtin_frame_address(0));
	leave();
}

void panic_trap(const struct trap_frame *frame, const char *format, ...)
{
	const char *message;
	char place[96];
	va_list args;

	va_start(args, format);
	message = enter(format, args);
	va_end(args);
	debug_place(frame->rip, place, sizeof(place));
	kprintf("\nPANIC in %s: %s\n", place, message);
	print_first();
	if (depth == 1) {
		print_registers(frame);
		print_rest(frame->rip, frame->rbp);
	}
	leave();
}

// The compiler's stack protector found a frame overwritten.
NORETURN void __stack_chk_fail(void);
void __stack_chk_fail(void)
{
	panic_at(__FILE__, __LINE__, __func__, "the stack frame of the caller is overwritten");
}
