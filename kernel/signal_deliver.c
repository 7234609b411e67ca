// SPDX-License-Identifier: BSD-2-Clause
// Delivering signals: on the way back to ring 3 the program's registers become a frame on its stack, as Linux lays it
// out for x86-64 (struct rt_sigframe: siginfo, ucontext with sigcontext, XSAVE image), and the handler is entered
// in their place; rt_sigreturn takes them back, after checking what would harm the kernel.
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/process.h"
#include "kernel/syscall.h"
#include "kernel/usercopy.h"

struct sigcontext {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip,
	    rflags;
	uint16_t cs, gs, fs, ss;
	uint64_t error, trap, old_mask, cr2, fpstate, reserved[8];
};
struct signal_frame {
	uint64_t restorer; // the handler returns here
	struct {
		uint64_t flags, link;
		struct signal_stack stack;
		struct sigcontext registers;
		uint64_t mask;
	} context;
	struct signal_info info;
};
_Static_assert(sizeof(struct sigcontext) == 256, "struct sigcontext");
_Static_assert(offsetof(struct signal_frame, info) == 8 + 304, "struct rt_sigframe");

#define UC_FP_XSTATE	 1
#define UC_SIGCONTEXT_SS 2
#define UC_STRICT_SS	 4
#define FP_MAGIC1	 0x46505853U // struct _fpx_sw_bytes, in the FXSAVE image's last 48 bytes
#define FP_MAGIC2	 0x46505845U // behind the image
#define FP_SW_OFFSET	 464
#define RFLAGS_USER                                                                                \
	0x40dd5UL // what a program may set: CF PF AF ZF SF TF DF OF AC; IF and the rest are ours
#define RED_ZONE 128
// What the instruction at RIP may have made comes first: its handler looks at the registers.
#define OF_FAULTS                                                                                  \
	(SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGTRAP) |     \
	 SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGSYS))

struct fp_sw {
	uint32_t magic1, extended_bytes;
	uint64_t features;
	uint32_t state_bytes, pad[7];
};

static void save_registers(struct sigcontext *c, const struct trap_frame *f, uint64_t mask)
{
	*c = (struct sigcontext){.r8 = f->r8,
				 .r9 = f->r9,
				 .r10 = f->r10,
				 .r11 = f->r11,
				 .r12 = f->r12,
				 .r13 = f->r13,
				 .r14 = f->r14,
				 .r15 = f->r15,
				 .rdi = f->rdi,
				 .rsi = f->rsi,
				 .rbp = f->rbp,
				 .rbx = f->rbx,
				 .rdx = f->rdx,
				 .rax = f->rax,
				 .rcx = f->rcx,
				 .rsp = f->rsp,
				 .rip = f->rip,
				 .rflags = f->rflags,
				 .cs = SELECTOR_USER_CODE,
				 .ss = SELECTOR_USER_DATA,
				 .error = f->vector < 32 ? f->error : 0,
				 .trap = f->vector < 32 ? f->vector : 0,
				 .old_mask = mask};
}

static bool load_registers(struct trap_frame *f, const struct sigcontext *c)
{
	if (c->rip >= USER_END || c->cs != SELECTOR_USER_CODE)
		return false;
	*f = (struct trap_frame){.r8 = c->r8,
				 .r9 = c->r9,
				 .r10 = c->r10,
				 .r11 = c->r11,
				 .r12 = c->r12,
				 .r13 = c->r13,
				 .r14 = c->r14,
				 .r15 = c->r15,
				 .rdi = c->rdi,
				 .rsi = c->rsi,
				 .rbp = c->rbp,
				 .rbx = c->rbx,
				 .rdx = c->rdx,
				 .rax = c->rax,
				 .rcx = c->rcx,
				 .rsp = c->rsp,
				 .rip = c->rip,
				 .rflags = (c->rflags & RFLAGS_USER) | BIT(1) | BIT(9),
				 .cs = SELECTOR_USER_CODE,
				 .ss = SELECTOR_USER_DATA,
				 .vector = TRAP_FRESH};
	return true;
}

// The registers that the kernel does not use, and behind them the magic by which libraries know the format.
static int push_fpu(struct task *t, uintptr_t at)
{
	uint32_t bytes = fpu_bytes(), magic2 = FP_MAGIC2;
	struct fp_sw sw = {.magic1 = FP_MAGIC1,
			   .extended_bytes = bytes + sizeof(magic2),
			   .features = cpu_has.avx ? 7 : 3,
			   .state_bytes = bytes};
	bool on = irq_save();

	fpu_save(t->fpu);
	irq_restore(on);
	if (cpu_has.xsave)
		memcpy((char *)t->fpu + FP_SW_OFFSET, &sw, sizeof(sw));
	if (user_write(at, t->fpu, bytes))
		return -EFAULT;
	return cpu_has.xsave ? user_put(at + bytes, &magic2) : 0;
}

static bool on_alternate(const struct task *t, uintptr_t sp)
{
	return sp - t->alternate.base < t->alternate.size;
}

static int push_frame(struct task *t, struct trap_frame *f, const struct signal_action *a,
		      const struct signal_info *info, uint64_t mask)
{
	struct signal_frame frame = {.restorer = a->restorer, .info = *info};
	uintptr_t sp = f->rsp - RED_ZONE, fpu_at, at;

	if (a->flags & SA_ONSTACK && !(t->alternate.flags & SS_DISABLE) && !on_alternate(t, f->rsp))
		sp = t->alternate.base + t->alternate.size;
	fpu_at = ALIGN_DOWN(sp - fpu_bytes() - 8, 64UL);
	at = ALIGN_DOWN(fpu_at - sizeof(frame), 16UL) - 8; // as if the handler had been called
	frame.context.flags = UC_SIGCONTEXT_SS | UC_STRICT_SS | (cpu_has.xsave ? UC_FP_XSTATE : 0);
	frame.context.stack = t->alternate;
	frame.context.mask = mask;
	save_registers(&frame.context.registers, f, mask);
	frame.context.registers.fpstate = fpu_at;
	if (sp >= USER_END || push_fpu(t, fpu_at) || user_put(at, &frame))
		return -EFAULT;
	f->rdi = (uint64_t)info->signal;
	f->rsi = at + offsetof(struct signal_frame, info);
	f->rdx = at + offsetof(struct signal_frame, context);
	f->rax = 0;
	f->rip = a->handler;
	f->rsp = at;
	f->rflags &= ~(BIT(10) | BIT(8));
	f->vector = TRAP_FRESH;
	return 0;
}

static void run_handler(struct task *t, struct trap_frame *f, const struct signal_action *a,
			const struct signal_info *info)
{
	uint64_t mask = t->restore_blocked ? t->saved_blocked : t->blocked;
	bool on;

	t->restore_blocked = false;
	if (a->handler >= USER_END || !(a->flags & SA_RESTORER) ||
	    push_frame(t, f, a, info, mask)) {
		kprintf("program %s (%d): no stack for signal %d\n", t->process->name,
			t->process->pid, info->signal);
		process_exit(SIGSEGV);
	}
	on = irq_save();
	// The interrupted code may have anything in its x87 stack, rounding and masks.
	fpu_reset(t->fpu);
	fpu_restore(t->fpu);
	irq_restore(on);
	spin_lock_wtd(&process_lock);
	t->blocked |= a->mask & ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP));
	if (!(a->flags & SA_NODEFER))
		t->blocked |= SIGNAL_BIT(info->signal);
	// The next one does not wait for this handler's end, which may never come.
	t->attention |= signal_waits();
	spin_unlock_wtd(&process_lock);
}

// A call that was interrupted starts again, or says so.
static void settle_call(struct trap_frame *f, const struct signal_action *a)
{
	if (a)
		task_current()->resume_end = 0;
	if (f->vector != TRAP_SYSCALL ||
	    (f->rax != (uint64_t)-ERESTART && f->rax != (uint64_t)-ERESTART_ALWAYS &&
	     f->rax != (uint64_t)-ERESTART_UNHANDLED))
		return;
	if (a && (f->rax == (uint64_t)-ERESTART_UNHANDLED ||
		  (f->rax == (uint64_t)-ERESTART && !(a->flags & SA_RESTART)))) {
		f->rax = (uint64_t)-EINTR;
	} else {
		f->rax = f->error; // the call's number
		f->rip -= 2;	   // the SYSCALL instruction
	}
}

// Until somebody sends SIGCONT or SIGKILL.
static void stop_here(struct task *t, int signal)
{
	struct process *p = t->process;

	spin_lock_wtd(&process_lock);
	if (p->state == PROCESS_RUNNING) {
		p->state = PROCESS_STOPPED;
		p->stop_signal = signal;
		p->stop_told = false;
		p->continued = false;
		for (struct task *other = p->tasks; other; other = other->process_next)
			task_interrupt(other);
		if (p->parent)
			(void)process_tell_parent(p);
	}
	spin_unlock_wtd(&process_lock);
}

static void wait_while_stopped(struct process *p)
{
	spin_lock_wtd(&process_lock);
	while (p->state == PROCESS_STOPPED && !p->exiting)
		waitq_sleep(&p->waiters, &process_lock);
	spin_unlock_wtd(&process_lock);
}

static bool stops_by_default(int signal)
{
	return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

static bool dumps_core(int signal)
{
	return signal == SIGQUIT || signal == SIGILL || signal == SIGTRAP || signal == SIGABRT ||
	       signal == SIGBUS || signal == SIGFPE || signal == SIGSEGV || signal == SIGSYS ||
	       signal == SIGXCPU || signal == SIGXFSZ;
}

static void end_by(struct task *t, const struct trap_frame *f, const struct signal_info *info)
{
	if (dumps_core(info->signal))
		kprintf("program %s (%d): signal %d at 0x%lx, address 0x%lx, stack 0x%lx: ended\n",
			t->process->name, t->process->pid, info->signal, f->rip, info->address,
			f->rsp);
	process_exit(info->signal);
}

static int take_one(struct task *t, struct signal_info *info, struct signal_action *a)
{
	struct process *p = t->process;
	uint64_t blocked = t->blocked & ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP));
	int signal;

	spin_lock_wtd(&process_lock);
	signal = signal_take(&t->pending, blocked | ~OF_FAULTS, info);
	if (!signal)
		signal = signal_take(&t->pending, blocked, info);
	if (!signal)
		signal = signal_take(&p->pending, blocked, info);
	if (signal) {
		*a = p->actions->action[signal - 1];
		if (a->handler > SIG_IGN && a->flags & SA_RESETHAND)
			p->actions->action[signal - 1].handler = SIG_DFL;
	}
	spin_unlock_wtd(&process_lock);
	return signal;
}

void signal_deliver(struct trap_frame *f)
{
	struct task *t = task_current();
	struct process *p = t->process;
	struct signal_action a = {0};
	struct signal_info info;

	t->attention = false;
	thread_interrupt_seen();
	for (;;) {
		if (p->exiting)
			task_exit(p->exit_status);
		if (p->single && p->single != t)
			task_exit(0);
		if (p->state == PROCESS_STOPPED) {
			wait_while_stopped(p);
			continue;
		}
		if (!take_one(t, &info, &a))
			break;
		if (a.handler == SIG_IGN ||
		    (a.handler == SIG_DFL && signal_is_ignored_by_default(info.signal)))
			continue;
		if (a.handler > SIG_IGN) {
			settle_call(f, &a);
			run_handler(t, f, &a, &info);
			return;
		}
		if (stops_by_default(info.signal))
			stop_here(t, info.signal);
		else
			end_by(t, f, &info);
	}
	settle_call(f, NULL);
	if (t->restore_blocked) {
		spin_lock_wtd(&process_lock);
		t->blocked = t->saved_blocked;
		spin_unlock_wtd(&process_lock);
		t->restore_blocked = false;
		t->attention = true; // what the old mask lets through
	}
}

// The image may say anything: what it cannot say without a fault in ring 0 is checked here (SDM volume 1, 13.8).
static bool fpu_image_ok(const void *area)
{
	const uint64_t *header = (const uint64_t *)((const char *)area + 512);
	uint32_t mxcsr = *(const uint32_t *)((const char *)area + 24);

	if (mxcsr & ~fpu_mxcsr_mask())
		return false;
	if (!cpu_has.xsave)
		return true;
	if (header[0] & ~(cpu_has.avx ? 7UL : 3UL))
		return false;
	for (unsigned n = 1; n < 8; n++)
		if (header[n])
			return false;
	return true;
}

// It is read into memory of its own: the task's area is written whenever another task runs.
static bool load_fpu(struct task *t, uintptr_t at)
{
	uint32_t bytes = fpu_bytes();
	void *image = kpages_alloc(FPU_AREA);
	bool on, good = image != NULL;

	if (good && at)
		good = !user_read(image, at, bytes) && fpu_image_ok(image);
	on = irq_save();
	if (good && at)
		memcpy(t->fpu, image, bytes);
	else
		fpu_reset(t->fpu);
	fpu_restore(t->fpu);
	irq_restore(on);
	if (image)
		kpages_free(image, FPU_AREA);
	return good;
}

int64_t signal_return(struct trap_frame *f)
{
	struct task *t = task_current();
	struct signal_frame frame;

	if (user_get(&frame, f->rsp - 8) || !load_registers(f, &frame.context.registers) ||
	    !load_fpu(t, frame.context.registers.fpstate)) {
		signal_force(SIGSEGV, 0x80, f->rsp);
		return 0;
	}
	spin_lock_wtd(&process_lock);
	t->blocked = frame.context.mask & ~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP));
	t->alternate = frame.context.stack;
	t->attention = true;
	spin_unlock_wtd(&process_lock);
	return (int64_t)f->rax;
}
