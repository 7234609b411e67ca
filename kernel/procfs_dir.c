// SPDX-License-Identifier: BSD-2-Clause
// /proc's directories (kernel/procfs.h). A cursor is the place in a table; behind it, the number of the process or
// descriptor after the last one told.
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/procfs.h"

enum { DT_DIR = 4, DT_REG = 8, DT_LNK = 10 };

struct lowest {
	int from, found;
};

static void find_lowest(const struct process *p, void *ctx)
{
	struct lowest *l = ctx;

	if (p->pid >= l->from && (!l->found || p->pid < l->found))
		l->found = p->pid;
}

static bool visit_number(proc_visitor visit, void *ctx, uint64_t number, unsigned type,
			 uint64_t next)
{
	char name[24];
	int len = ksnprintf(name, sizeof(name), "%lu", (unsigned long)number);

	return visit(ctx, name, (size_t)len, number + 2, type, next);
}

int proc_read_root(uint64_t *cursor, proc_visitor visit, void *ctx)
{
	const char *name;
	uint64_t fixed = 1;
	struct lowest l;

	if (!*cursor && !visit(ctx, "self", 4, 2, DT_LNK, 1))
		return 0;
	*cursor = MAX(*cursor, 1UL);
	for (; (name = proc_machine_name(fixed - 1)) != NULL; fixed++) {
		if (*cursor > fixed)
			continue;
		if (!visit(ctx, name, strlen(name), fixed + 2, DT_REG, fixed + 1))
			return 0;
		*cursor = fixed + 1;
	}
	for (;;) {
		l = (struct lowest){.from = (int)MIN(*cursor - fixed, (uint64_t)INT32_MAX)};
		process_each(find_lowest, &l);
		if (!l.found || !visit_number(visit, ctx, (uint64_t)l.found, DT_DIR,
					      fixed + (uint64_t)l.found + 1))
			return 0;
		*cursor = fixed + (uint64_t)l.found + 1;
	}
}

int proc_read_process(uint64_t *cursor, proc_visitor visit, void *ctx)
{
	const char *name;
	enum kind kind;

	for (; (name = proc_process_name(*cursor, &kind)) != NULL; ++*cursor)
		if (!visit(ctx, name, strlen(name), *cursor + 2,
			   kind == FD_DIRECTORY	  ? DT_DIR
			   : kind == PROCESS_FILE ? DT_REG
						  : DT_LNK,
			   *cursor + 1))
			return 0;
	return 0;
}

int proc_read_fds(struct process *p, uint64_t *cursor, proc_visitor visit, void *ctx)
{
	for (; *cursor < p->limits[RLIMIT_NOFILE].hard && *cursor < FILES_MAX; ++*cursor) {
		struct stream *s = proc_stream_of_fd(p, (int)*cursor);

		if (!s)
			continue;
		stream_put(s);
		if (!visit_number(visit, ctx, *cursor, DT_LNK, *cursor + 1))
			return 0;
	}
	return 0;
}
