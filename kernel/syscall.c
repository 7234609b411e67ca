// SPDX-License-Identifier: BSD-2-Clause
// The way of a system call: from user.asm through the table to its function and back; the way of an exception
// from ring 3 to a signal; and what happens last before ring 3. What is not in the table is -ENOSYS, counted and
// named in the trace.
#include "kernel/syscall.h"
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/panic.h"
#include "kernel/timer.h"
#include "kernel/trace.h"
#include "kernel/usercopy.h"

#define CALLS_MAX 512

enum {
	SI_KERNEL = 0x80,
	SEGV_MAPERR = 1,
	SEGV_ACCERR = 2,
	BUS_ADRERR = 2,
	FPE_INTDIV = 1,
	ILL_ILLOPN = 2,
	TRAP_BRKPT = 1
};

extern const struct syscall __start_syscalls[] __attribute__((weak));
extern const struct syscall __stop_syscalls[] __attribute__((weak));

static const struct syscall *table[CALLS_MAX]; // constant after boot
static uint64_t calls, unknown;
KSTAT_COUNTER(calls, "pagewire_syscalls_total", "System calls of programs.");
KSTAT_COUNTER(unknown, "pagewire_syscalls_unknown_total", "Of them, calls that are not served.");

void syscall_init(void)
{
	for (const struct syscall *row = __start_syscalls; row < __stop_syscalls; row++) {
		if (row->number >= CALLS_MAX || table[row->number])
			PANIC("system call %u (%s) is out of range or there twice", row->number,
			      row->name);
		table[row->number] = row;
	}
}

const struct syscall *syscall_find(uint64_t number)
{
	return number < CALLS_MAX ? table[number] : NULL;
}

void syscall_dispatch(struct trap_frame *f);
void syscall_dispatch(struct trap_frame *f)
{
	const uint64_t a[6] = {f->rdi, f->rsi, f->rdx, f->r10, f->r8, f->r9};
	const struct syscall *row = syscall_find(f->rax);

	calls++;
	cputime_kernel(task_current());
	if (LIKELY(row != NULL)) {
		f->rax = (uint64_t)row->call(a);
		return;
	}
	unknown++;
	trace(TRACE_SYSCALL_UNKNOWN, f->rax, (uint64_t)process_current()->pid, f->rip);
	f->rax = (uint64_t)-ENOSYS;
}

// Interrupts off, the frame at the top of the task's kernel stack. A program may jump anywhere, and an interrupt come
// before the fault that its next instruction makes: then the fault is told here, for IRET and SYSRET take no address
// that is not canonical.
void user_leave(struct trap_frame *f);
void user_leave(struct trap_frame *f)
{
	struct task *t = task_current();

	while (UNLIKELY(t->attention || f->rip > USER_END)) {
		irq_restore(true);
		if (f->rip > USER_END)
			signal_force(SIGSEGV, SEGV_MAPERR, f->rip);
		signal_deliver(f);
		irq_off();
	}
	cputime_user(t);
	ASSERT(f->cs == SELECTOR_USER_CODE && f->rip <= USER_END && !this_cpu()->locks &&
	       !this_cpu()->wtd_disabled);
}

// ---- exceptions ----

enum { FAULT_PRESENT = BIT(0), FAULT_WRITE = BIT(1), FAULT_USER = BIT(2), FAULT_FETCH = BIT(4) };

// What SIGSEGV says: something is mapped there, or nothing is.
static int code_of_refusal(uintptr_t address)
{
	struct uspace *u = process_space();
	bool mapped;

	mutex_lock(&u->lock);
	mapped = uspace_region_at(u, address);
	mutex_unlock(&u->lock);
	return mapped ? SEGV_ACCERR : SEGV_MAPERR;
}

static void page_fault(const struct trap_frame *f, uintptr_t address)
{
	unsigned access = f->error & FAULT_FETCH   ? USPACE_EXEC
			  : f->error & FAULT_WRITE ? USPACE_WRITE
						   : USPACE_READ;
	// An access of the processor's own, as by ring 0, to what is there (QEMU's IRET and far RET read a program's
	// stack like that, and SMAP forbids it): nothing will mend it.
	bool lost = f->error & FAULT_PRESENT && !(f->error & FAULT_USER);
	int error = lost ? -EFAULT : uspace_fault(process_space(), address, access);

	if (!error)
		return;
	if (error == -ENOMEM) {
		kprintf("program %s (%d): out of memory\n", process_current()->name,
			process_current()->pid);
		signal_force(SIGKILL, SI_KERNEL, address);
	} else if (error == -EFAULT) {
		signal_force(SIGSEGV, code_of_refusal(address), address);
	} else {
		signal_force(SIGBUS, BUS_ADRERR, address);
	}
}

void process_trap(struct trap_frame *f)
{
	uintptr_t address = f->vector == 14 ? read_cr2() : 0;

	cputime_kernel(task_current());
	irq_restore(true);
	switch (f->vector) {
	case 0:
		signal_force(SIGFPE, FPE_INTDIV, f->rip);
		break;
	case 1:
	case 3:
		signal_force(SIGTRAP, TRAP_BRKPT, f->rip);
		break;
	case 6:
		signal_force(SIGILL, ILL_ILLOPN, f->rip);
		break;
	case 14:
		page_fault(f, address);
		break;
	case 16:
	case 19:
		signal_force(SIGFPE, SI_KERNEL, f->rip);
		break;
	case 17:
		signal_force(SIGBUS, 1, f->rip);
		break;
	default:
		signal_force(SIGSEGV, SI_KERNEL, 0);
		break;
	}
	irq_off();
}
