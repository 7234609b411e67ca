// SPDX-License-Identifier: BSD-2-Clause
// Processes: programs in ring 3. A process is an address space, descriptors, signal actions and a number; its
// tasks are kernel threads that spend most of their time in ring 3. Programs are ordinary static Linux x86-64
// executables; docs/linux-abi.md says which calls they find.
//
//	             fork, LOAD                exit, a fatal signal               wait4, or nobody to wait
//	(nothing) ------------> RUNNING -------------------------> ZOMBIE --------------------------------> gone
//	                         | ^ SIGCONT
//	                 SIGSTOP v |
//	                        STOPPED
//
// Lock key. T: process_lock (a spin lock, WTDs off). own: the task itself. X: changed by execve and at the end only,
// when the process has one task. O: a word that its own tasks change, each at once.
#pragma once

#include "kernel/lock.h"
#include "kernel/signal.h"
#include "kernel/thread.h"
#include "kernel/trap.h"
#include "kernel/uspace.h"
#include "kernel/wtd.h"

#define PROCESSES_MAX 4096
#define TASKS_MAX     8192  // of all processes
#define TASKS_EACH    1024  // of one
#define FILES_MAX     65536 // descriptors of one: what RLIMIT_NOFILE may be raised to
#define PATH_BYTES    4096  // PATH_MAX of Linux
// What the kernel keeps for each, in frames: paths, descriptors, top table and the tables of a small program; a stack
// and its guard's tables, the floating-point area.
#define PROCESS_FRAMES 10
#define TASK_FRAMES    6

struct files;
struct posix_timer;
struct pidfd;

enum {		      // Linux's numbers
	RLIMIT_CPU,   // seconds of processor time: SIGXCPU, SIGKILL
	RLIMIT_FSIZE, // bytes of a file: SIGXFSZ, EFBIG
	RLIMIT_DATA,  // bytes of private memory that can be written, stacks aside
	RLIMIT_STACK, // bytes
	RLIMIT_CORE,  // nothing is written here
	RLIMIT_RSS,   // not looked at, as on Linux
	RLIMIT_NPROC, // tasks of all programs, for there is one user
	RLIMIT_NOFILE,
	RLIMIT_AS = 9, // bytes of all mappings
	RLIMIT_SIGPENDING =
	    11, // signals with what came with them that wait for any program: EAGAIN
	RLIMITS = 16
};
struct limit {
	uint64_t soft, hard; // UINT64_MAX: none
};

struct cpu_time {
	uint64_t user, system; // cycles
};
struct cpu_timer {		// by processor time
	uint64_t due, interval; // ns; due 0: not set
};

enum process_state { PROCESS_RUNNING, PROCESS_STOPPED, PROCESS_ZOMBIE };

struct process {
	int pid;			    // constant
	uint32_t references;		    // (T)
	enum process_state state;	    // (T)
	struct process *parent;		    // (T) null: the kernel started it
	struct process *children;	    // (T) list through sibling
	struct process *sibling, *all_next; // (T)
	struct task *tasks;		    // (T) list through process_next
	uint32_t task_count;		    // (T)
	int group, session;		    // (T)
	struct waitq waiters;		    // (T) in wait4
	int exit_status;		    // (T) as wait4 tells it
	bool exiting;			    // (T) all tasks are to end
	struct task *single;		    // (T) who execs: the others are to end
	bool stop_told, continued;	    // (T) for WUNTRACED, WCONTINUED
	int stop_signal;		    // (T)
	bool executed;			    // (T) has called execve: setpgid by its parent is over
	struct uspace *space;		    // (X)
	struct files *files;		    // (X)
	struct signal_actions *actions;	    // (T)
	struct signal_pending pending;	    // (T) for any task
	struct waitq vfork_done;	    // (T) its parent waits here
	bool vforked;			    // (T) the parent waits
	char *directory;		    // (T) working directory: absolute path, PATH_BYTES
	char *program;			    // (X) path of the executable, PATH_BYTES
	char name[16];			    // (T) comm
	uint32_t umask;			    // (O)
	struct limit limits[RLIMITS];	    // (T) single words are read without
	uint64_t started_ns;		    // constant
	void (*ended)(struct process *p,
		      void *ctx); // (T) for who started it from the kernel: thread context
	void *ended_ctx;
	// alarm and setitimer(ITIMER_REAL)
	struct wtd alarm;
	uint64_t alarm_due_ns, alarm_interval_ns; // (T)
	// Processor time: of tasks that ended; of children that were waited for, and theirs.
	struct cpu_time used_by_ended, used_by_children; // (T)
	struct cpu_timer virtual_timer, profile_timer;	 // (T)
	uint64_t cpu_warned; // (T) seconds: SIGXCPU comes again from here on
	struct wtd cpu_watch;
	struct posix_timer *timers;   // (T) timer_create's
	struct pidfd *pidfds;	      // (T) kernel/pidfd.c
	int next_timer;		      // (T)
	uint32_t timer_count;	      // (T)
	uintptr_t arg_start, arg_end; // (O) for /proc
};

struct task {
	struct thread *thread;	   // constant
	struct process *process;   // constant, a reference
	int tid;		   // (T) the first one's is the pid, and that of who execs
	struct task *process_next; // (T)
	struct task *tid_next;	   // (T) hash chain
	struct uspace
	    *space; // own: whose tables are loaded while it runs (process->space; vfork's parent)
	struct trap_frame *frame;	 // own: its registers while it is in the kernel
	struct trap_frame start;	 // how it begins
	uint64_t fs_base, gs_base;	 // own
	void *fpu;			 // own: XSAVE area, FPU_AREA bytes
	uintptr_t stack_top;		 // constant: of its kernel stack
	volatile bool attention;	 // (T) something to do before ring 3: a signal, the end
	uint64_t blocked, saved_blocked; // (T)
	uint64_t waits_for;		 // (T) what sigtimedwait waits for, whether blocked or not
	bool restore_blocked; // own: sigsuspend, ppoll: saved_blocked comes back after the handler
	uint64_t resume_end; // own: when a sleep ends that starts again (syscall_end); 0: none does
	struct signal_pending pending; // (T) for this task
	struct signal_stack alternate; // own
	uintptr_t clear_tid;	       // own: set to 0 and woken at the end (CLONE_CHILD_CLEARTID)
	uintptr_t robust_list;	       // own
	bool is_exiting;	       // own: in task_exit
	bool on_processor;	       // own: its time is being counted
	bool in_user;		       // own: since `mark` it is in ring 3
	uint64_t mark;		       // own: cycles up to here are in `used`
	struct cpu_time used;	       // own
};

// Any context: the running thread's task, null for the kernel's own threads. The others: only there.
struct task *task_current(void);
static inline struct process *process_current(void)
{
	return task_current()->process;
}
struct uspace *process_space(void); // the running task's

extern struct spinlock process_lock;

// ---- process.c: making and ending ----
struct process_start {
	const char *path;		       // absolute
	const char *const *argv, *const *envp; // null-terminated
	const char *directory;
	void (*ended)(struct process *p, void *ctx); // may be null
	void *ctx;
};
// Thread context, not a program's. Starts a program with descriptors 0 to 2 on the console. Its pid or an error.
int process_start(const struct process_start *how);
struct process *process_find(int pid);	      // with a reference; null
struct process *process_find_locked(int pid); // (T held) without
void process_get(struct process *p);
void process_put(struct process *p);
NORETURN void task_exit(int code);	// this task; the process with its last one
NORETURN void process_exit(int status); // all tasks; status as wait4 tells it
void process_each(void (*visit)(const struct process *p, void *ctx),
		  void *ctx); // (T) held meanwhile
// Made and not yet running; null: a limit, no memory, or a signal for its parent, the running process (null: the
// kernel's), that comes first. From now on signals reach it.
struct process *process_make(struct process *parent);
void process_unmake(struct process *p); // never ran
// A task that will enter ring 3 with `frame`; it runs after task_run.
struct task *task_make(struct process *p, const struct trap_frame *frame) MUST_CHECK;
void task_run(struct task *t);
void task_unmake(struct task *t);
// The only one of its process: its number is the process' from now on.
void task_take_pid(struct task *t);

// A zombie that was told: the list's reference goes. False: another one had it already.
bool process_reap(struct process *p);
void process_end(struct process *p);   // by its last task
uint64_t process_count(void);	       // zombies included
uint64_t processes_started(void);      // ever
bool process_number_taken(int number); // (T held)
int task_number(void);		       // (T held) one that is free
struct task *task_find(int tid);       // (T held)
void task_interrupt(struct task *t);   // (T held) it looks for signals soon
void process_alarm_init(struct process *p);
void process_alarm_stop(struct process *p);
void process_timers_drop(struct process *p); // syscall_timer.c: all of them; thread context
NORETURN void user_enter(const struct trap_frame *frame, uintptr_t top); // user.asm
struct files *files_new_console(void); // descriptors 0 to 2 on the console; null: no memory

// ---- process_wait.c ----
int64_t process_wait4(int which, uintptr_t status, int options, uintptr_t usage);
// (T held) Something that wait4 of its parent may tell. True: the parent does not want to know of the end.
bool process_tell_parent(struct process *p);

// ---- process_exec.c, elf.c ----
struct elf_image {
	uintptr_t entry, phdr, base, brk;
	uint16_t phnum;
};
// Maps the program that stream reads into an empty space. 0, -ENOEXEC, -ENOMEM, -EIO.
struct stream;
int elf_load(struct uspace *space, struct stream *program, struct elf_image *out);
struct exec_args { // strings behind each other, in kernel memory
	char *text;
	size_t bytes, size;
	unsigned argc, envc;
};
int exec_args_add(struct exec_args *a, const char *text, size_t len); // -E2BIG
int exec_args_init(struct exec_args *a);			      // a page; it grows by use
int exec_args_grow(struct exec_args *a); // to twice the size; -E2BIG, -ENOMEM
void exec_args_free(struct exec_args *a);
// Builds space and first frame for a program. `path` (PATH_BYTES) becomes the path of what is loaded: of a script, its
// interpreter's. 0 or an error; the caller installs or puts them.
int exec_build(char *path, struct exec_args *args, struct process *p, struct uspace **space,
	       struct trap_frame *frame);
// `path` (PATH_BYTES) may be changed.
int64_t process_execve(char *path,
		       struct exec_args *args); // returns only with an error, or 0 for ring 3

// vdso.c: what every program finds mapped; *header: its ELF header, for AT_SYSINFO_EHDR. 0 or -ENOMEM.
int vdso_map(struct uspace *space, uintptr_t *header) MUST_CHECK;
bool vdso_is(const struct uspace_backing *backing);
void vdso_init(void); // boot, after uspace_init

void process_name(struct process *p, const char *path);
// The working directory, which threads share: copied out (PATH_BYTES) and set as a whole.
void process_get_directory(struct process *p, char *out);
void process_set_directory(struct process *p, const char *path);
int process_single(
    struct process *p); // ends the other tasks of the running one's process; 0 or -EINTR
void process_vfork_over(struct process *p);		       // its parent may go on
void task_use_space(struct task *t, struct uspace *space);     // the running task's, from now on
void task_set_bases(struct task *t, uint64_t fs, uint64_t gs); // ditto

// ---- process_fork.c ----
int64_t process_clone(uint64_t flags, uintptr_t stack, uintptr_t parent_tid, uintptr_t child_tid,
		      uint64_t tls);

// ---- cputime.c ----
void cputime_kernel(struct task *t); // the running task has entered the kernel
void cputime_user(struct task *t);   // it is about to leave it; interrupts off
void cputime_enter(struct task *t);  // the scheduler's, interrupts off
void cputime_leave(struct task *t);
uint64_t cputime_ns(const struct cpu_time *time);	     // both kinds
void cputime_of_all(uint64_t *user_ns, uint64_t *system_ns); // of all programs since the start
// process_lock held.
void cputime_of_task(struct task *t, struct cpu_time *out);
void cputime_of_process(const struct process *p, struct cpu_time *out);
void cputime_task_ended(struct task *t);
void cputime_child_told(struct process *parent, const struct process *child);
void cputime_watch(struct process *p); // a timer or limit of processor time was set
// process_lock not held.
void cputime_watch_init(struct process *p);
void cputime_watch_stop(struct process *p);

// ---- fpu.c ----
#define FPU_AREA PAGE_SIZE
void fpu_init(void); // boot
void fpu_reset(void *area);
void fpu_save(void *area);
void fpu_restore(const void *area);
uint32_t fpu_bytes(void);      // of an area that mean something
uint32_t fpu_mxcsr_mask(void); // bits that may be set in MXCSR

// ---- called by sched_switch with interrupts off ----
void task_pause(
    struct thread *t); // its processor time ends here, and goes on with task_resume or task_enter
void task_resume(struct thread *t);
void task_leave(struct thread *previous);
void task_enter(struct thread *next);

// trap.c: an exception in ring 3.
void process_trap(struct trap_frame *frame);
void process_init(void); // boot, last before the console: tables, limits, providers; then AUTOEXEC
