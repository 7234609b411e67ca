// SPDX-License-Identifier: BSD-2-Clause
// Signals, as Linux has them on x86-64: numbers, actions, sets, frames. Sending is possible from any context but
// interrupt; delivery happens on the way back to ring 3 (user_leave).
#pragma once

#include "kernel/base.h"

enum {
	SIGHUP = 1,
	SIGINT,
	SIGQUIT,
	SIGILL,
	SIGTRAP,
	SIGABRT,
	SIGBUS,
	SIGFPE,
	SIGKILL,
	SIGUSR1,
	SIGSEGV,
	SIGUSR2,
	SIGPIPE,
	SIGALRM,
	SIGTERM,
	SIGSTKFLT,
	SIGCHLD,
	SIGCONT,
	SIGSTOP,
	SIGTSTP,
	SIGTTIN,
	SIGTTOU,
	SIGURG,
	SIGXCPU,
	SIGXFSZ,
	SIGVTALRM,
	SIGPROF,
	SIGWINCH,
	SIGIO,
	SIGPWR,
	SIGSYS,
	SIGNALS = 64
};

enum { SIG_DFL = 0, SIG_IGN = 1 };
enum {
	SA_NOCLDSTOP = 1,
	SA_NOCLDWAIT = 2,
	SA_SIGINFO = 4,
	SA_RESTORER = 0x04000000,
	SA_ONSTACK = 0x08000000,
	SA_RESTART = 0x10000000,
	SA_NODEFER = 0x40000000
};
#define SA_RESETHAND 0x80000000UL

// Internal: a call that a signal interrupted and that starts again when the action says SA_RESTART (or when there
// is no handler). Never seen by programs.
#undef ERESTART // the host's, in its tests
#define ERESTART 512
// The same whatever the action says: the call was not even begun.
#define ERESTART_ALWAYS 513
// The same without a handler only: after one it is EINTR, whatever SA_RESTART says (Linux' ERESTARTNOHAND).
#define ERESTART_UNHANDLED 514

struct signal_info { // the head of siginfo_t, enough for every sender we have
	int32_t signal, error, code, pad;
	union {
		struct {
			int32_t pid;
			uint32_t uid;
			union {
				struct {
					int32_t status;
				};
				uint64_t value;
			};
		};
		uint64_t address; // of a fault
		uint8_t rest[112];
	};
};
_Static_assert(sizeof(struct signal_info) == 128, "siginfo_t");

struct signal_queued { // what came with a pending signal
	struct signal_queued *next;
	struct signal_info info;
};
struct signal_pending { // (T)
	uint64_t bits;	// bit n - 1: signal n
	struct signal_queued *first,
	    *last; // in order; a signal may be pending without one (memory was short)
};

struct signal_action { // struct kernel_sigaction
	uint64_t handler, flags, restorer, mask;
};
struct signal_actions {
	uint32_t references;
	struct signal_action action[SIGNALS];
};
struct signal_stack { // stack_t
	uint64_t base;
	int32_t flags;
	uint64_t size;
};

enum { SS_ONSTACK = 1, SS_DISABLE = 2 };

struct task;
struct process;
struct trap_frame;

#define SIGNAL_BIT(n) BIT((n)-1)

// What programs send waits with its information (struct signal_queued) up to the receiver's RLIMIT_SIGPENDING, counted
// over all programs as they have one user, and never more than so many; the kernel's own signals have as many again.
#define SIGNALS_QUEUED_MAX 8192
uint64_t signals_queued(void); // any context

// Thread, WTD; process_lock not held. info null: from the kernel. Counts and drops what nobody can take.
void signal_process(struct process *p, int signal, const struct signal_info *info);
void signal_task(struct task *t, int signal, const struct signal_info *info);
// The same for what a program sends (kill, sigqueue, tkill ...). Beyond the limit a signal below 32 comes without its
// information, as does kill's of real time (once, however many are sent); another one of real time is refused: -EAGAIN.
int signal_process_sent(struct process *p, int signal, const struct signal_info *info) MUST_CHECK;
int signal_process_sent_locked(struct process *p, int signal,
			       const struct signal_info *info) MUST_CHECK;
int signal_task_sent_locked(struct task *t, int signal, const struct signal_info *info) MUST_CHECK;
// The running task: cannot be blocked or ignored (a fault): ends the program if it would be.
void signal_force(int signal, int code, uint64_t address);
unsigned signal_group(int group, int signal,
		      const struct signal_info *info); // a process group: how many; 0: only counts
void signal_process_locked(struct process *p, int signal,
			   const struct signal_info *info); // process_lock held
void signal_task_locked(struct task *t, int signal, const struct signal_info *info);
// process_lock held. Takes the lowest pending signal that is not blocked; 0: none.
int signal_take(struct signal_pending *pending, uint64_t blocked, struct signal_info *info);
bool signal_is_ignored_by_default(int signal);
// What is ignored now is pending no more.
void signal_action_changed_locked(struct process *p, int signal);
// (T held or not) The running task is to end: no sleep may outlast this.
bool signal_kills(void);
bool signal_waits(
    void); // the running task has one that is not blocked, or must end: leave the kernel
// On the way to ring 3, interrupts on: sets up handlers, ends or stops the program.
void signal_deliver(struct trap_frame *frame);
void signal_exec(struct process *p);			  // handlers become defaults
void signal_pending_drop(struct signal_pending *pending); // thread context
struct signal_actions *signal_actions_new(const struct signal_actions *like); // null: no memory
void signal_actions_put(struct signal_actions *actions);
int64_t signal_return(struct trap_frame *frame); // rt_sigreturn
