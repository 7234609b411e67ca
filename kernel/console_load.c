// SPDX-License-Identifier: BSD-2-Clause
// LOAD, UNLOAD, PS: programs from the console. A program that was loaded without "&" has the console until it ends; a
// program's name without a slash is looked for in /bin of the root volume.
#include "kernel/console.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/process.h"
#include "kernel/syscall.h"
#include "kernel/tty.h"
#include "kernel/timer.h"

#define WORDS_MAX 32
#define KEY_WAIT  (100 * NS_PER_MS) // between two looks whether the program has ended

static const char *const environment[] = {
    "PATH=/bin:/sbin:/usr/bin", "HOME=/", "TERM=vt100", "USER=root", "SHELL=/bin/sh", NULL};

struct loaded {
	volatile bool ended;
	int status;
};

static void program_ended(struct process *p, void *ctx)
{
	struct loaded *l = ctx;

	l->status = p->exit_status;
	l->ended = true;
	console_input(0); // wakes the console's thread, which drops the byte
}

static void say_status(const char *name, int status)
{
	if (status & 0x7f)
		console_printf("%s: ended by signal %d\n", name, status & 0x7f);
	else if (status >> 8)
		console_printf("%s: exit status %d\n", name, status >> 8 & 0xff);
}

// The console is the program's until it ends.
static void attend(int pid, const char *name, struct loaded *l)
{
	tty_give(pid, pid);
	while (!l->ended) {
		int key = console_key(KEY_WAIT);

		if (key > 0)
			tty_key((uint8_t)key);
	}
	tty_give(0, 0);
	say_status(name, l->status);
}

static const char *why(int error)
{
	switch (-error) {
	case ENOENT:
		return "there is no such program";
	case EACCES:
		return "it is not an executable file";
	case ENOEXEC:
		return "it is not a static x86-64 program, or a damaged one";
	case ENOMEM:
	case EAGAIN:
		return "there is no memory for it";
	case E2BIG:
		return "too many arguments";
	default:
		return "it cannot be read";
	}
}

static void load(int argc, char **argv)
{
	static char path[PATH_BYTES];
	const char *words[WORDS_MAX + 1] = {0};
	struct loaded l = {0};
	struct process_start how = {
	    .path = path, .argv = words, .envp = environment, .directory = "/"};
	bool background = argc > 2 && !strcmp(argv[argc - 1], "&");
	int pid;

	if (argc < 2) {
		console_printf("LOAD name [arguments] [&]\n");
		return;
	}
	argc -= background;
	ksnprintf(path, sizeof(path), "%s%s", argv[1][0] == '/' ? "" : "/bin/", argv[1]);
	for (int n = 1; n < argc && n <= WORDS_MAX; n++)
		words[n - 1] = argv[n];
	if (!background) {
		how.ended = program_ended;
		how.ctx = &l;
	}
	pid = process_start(&how);
	if (pid < 0)
		console_printf("%s: %s\n", path, why(pid));
	else if (background)
		console_printf("process %d\n", pid);
	else
		attend(pid, argv[1], &l);
}
CONSOLE_COMMAND(load, "LOAD", "LOAD name [arguments] [&]",
		"Runs a program of the root volume; with & it leaves the console alone.", load);

static void unload(int argc, char **argv)
{
	uint64_t pid;
	struct process *p =
	    argc == 2 && kparse_u64(argv[1], strlen(argv[1]), &pid) ? process_find((int)pid) : NULL;

	if (!p) {
		if (argc == 2)
			console_printf("%s: no such process; PS lists them\n", argv[1]);
		else
			console_printf("UNLOAD process\n");
		return;
	}
	signal_process(p, SIGKILL, NULL);
	process_put(p);
}
CONSOLE_COMMAND(unload, "UNLOAD", "UNLOAD process", "Ends a program at once; PS has its number.",
		unload);

#define PS_MAX 256

struct ps_row {
	int pid, parent;
	char state, name[16];
	unsigned tasks;
	uint64_t frames;
};
struct ps {
	struct ps_row row[PS_MAX];
	unsigned count, more;
};

static void add_row(const struct process *p, void *ctx)
{
	struct ps *ps = ctx;
	struct ps_row *row = &ps->row[ps->count];

	if (ps->count == PS_MAX) {
		ps->more++;
		return;
	}
	ps->count++;
	*row = (struct ps_row){.pid = p->pid,
			       .parent = p->parent ? p->parent->pid : 0,
			       .state = p->state == PROCESS_ZOMBIE    ? 'Z'
					: p->state == PROCESS_STOPPED ? 'T'
								      : 'R',
			       .tasks = p->task_count,
			       .frames = p->space ? p->space->frames : 0};
	memcpy(row->name, p->name, sizeof(row->name));
}

static void ps(int argc, char **argv)
{
	static struct ps list; // the console's thread only

	list = (struct ps){0};
	process_each(add_row, &list);
	console_printf("  PID  PPID S THREADS      KB NAME\n");
	for (unsigned n = list.count; n-- > 0;) {
		const struct ps_row *row = &list.row[n];

		console_printf("%5d %5d %c %7u %7lu %s\n", row->pid, row->parent, row->state,
			       row->tasks, (unsigned long)row->frames * 4, row->name);
	}
	if (list.more)
		console_printf("... and %u more\n", list.more);
}
CONSOLE_COMMAND(ps, "PS", "PS", "Lists programs.", ps);
