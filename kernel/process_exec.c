// SPDX-License-Identifier: BSD-2-Clause
// Starting a program: a fresh address space with its segments, a stack with arguments, environment and auxiliary
// vector (System V ABI, AMD64 supplement, 3.4.1), and the registers of its first instruction. Scripts name their
// interpreter on the first line (#!), as Linux has it, four deep at most.
#include "kernel/cpu.h"
#include "kernel/cpu_private.h"
#include "kernel/elf.h"
#include "kernel/files.h"
#include "kernel/futex.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/process.h"
#include "kernel/stream.h"
#include "kernel/usercopy.h"

#define ARGS_BYTES    (256 * 1024) // arguments and environment together; Linux: a quarter of the stack
#define STACK_TOP     (USER_END - PAGE_SIZE)
#define STACK_RANDOM  (1UL << 22)  // pages of ASLR below STACK_TOP: 16 GB
#define MMAP_RANDOM   (1UL << 28)  // pages
#define BRK_RANDOM    (1UL << 13)  // pages
#define STACK_FIRST   (128 * 1024) // of the region; it grows
#define STACK_GAP_MAX (64UL << 30) // kept free below, whatever RLIMIT_STACK says
#define SCRIPTS_DEEP  4
#define LINE_BYTES    256 // of a script's first line
#define AUX_WORDS     36

// ---- argument strings ----

int exec_args_init(struct exec_args *a)
{
	*a = (struct exec_args){.text = kpages_alloc(PAGE_SIZE), .size = PAGE_SIZE};
	return a->text ? 0 : -ENOMEM;
}

int exec_args_grow(struct exec_args *a)
{
	size_t size = a->size * 2;
	char *text = size <= ARGS_BYTES ? kpages_alloc(size) : NULL;

	if (!text)
		return size <= ARGS_BYTES ? -ENOMEM : -E2BIG;
	memcpy(text, a->text, a->bytes);
	kpages_free(a->text, a->size);
	a->text = text;
	a->size = size;
	return 0;
}

// Room for `more` bytes.
static int make_room(struct exec_args *a, size_t more)
{
	int error = 0;

	while (!error && more > a->size - a->bytes)
		error = exec_args_grow(a);
	return error;
}

void exec_args_free(struct exec_args *a)
{
	if (a->text)
		kpages_free(a->text, a->size);
	a->text = NULL;
}

int exec_args_add(struct exec_args *a, const char *text, size_t len)
{
	int error = make_room(a, len + 1);

	if (error)
		return error;
	memcpy(a->text + a->bytes, text, len);
	a->text[a->bytes + len] = 0;
	a->bytes += len + 1;
	return 0;
}

// A script's words take the place of argv[0]: interpreter, its argument if there is one, the script's path.
static int args_replace_first(struct exec_args *a, const char *interpreter, const char *argument,
			      const char *path)
{
	size_t old = a->argc ? strlen(a->text) + 1 : 0,
	       need = strlen(interpreter) + 1 + strlen(path) + 1;

	if (argument)
		need += strlen(argument) + 1;
	size_t rest = a->bytes - old;
	int error = make_room(a, need > old ? need - old : 0);

	if (error)
		return error;

	memmove(a->text + need, a->text + old, rest);
	a->bytes = 0;
	(void)!exec_args_add(a, interpreter, strlen(interpreter));
	if (argument)
		(void)!exec_args_add(a, argument, strlen(argument));
	(void)!exec_args_add(a, path, strlen(path));
	a->bytes += rest;
	a->argc += argument ? 2 : 1;
	a->argc += !old;
	return 0;
}

// ---- the first stack ----

struct stack {
	struct uspace *space;
	uintptr_t sp;
	int error;
};

static void push(struct stack *s, const void *from, size_t bytes)
{
	s->sp -= bytes;
	if (!s->error)
		s->error = uspace_write(s->space, s->sp, from, bytes);
}

static unsigned fill_auxv(uint64_t *aux, const struct elf_image *image, uintptr_t vdso,
			  uintptr_t random, uintptr_t name)
{
	const uint64_t pairs[][2] = {{AT_PHDR, image->phdr},
				     {AT_PHENT, sizeof(struct elf_program)},
				     {AT_PHNUM, image->phnum},
				     {AT_PAGESZ, PAGE_SIZE},
				     {AT_BASE, 0},
				     {AT_FLAGS, 0},
				     {AT_ENTRY, image->entry},
				     {AT_UID, 0},
				     {AT_EUID, 0},
				     {AT_GID, 0},
				     {AT_EGID, 0},
				     {AT_SECURE, 0},
				     {AT_CLKTCK, 100},
				     {AT_HWCAP, cpuid(1, 0).edx},
				     {AT_RANDOM, random},
				     {AT_EXECFN, name},
				     {AT_SYSINFO_EHDR, vdso},
				     {AT_NULL, 0}};

	memcpy(aux, pairs, sizeof(pairs));
	return sizeof(pairs) / sizeof(uint64_t);
}

// Pointers to the strings, which lie one behind the other from `at` on.
static unsigned fill_pointers(uint64_t *words, const char *text, unsigned count, uintptr_t *at)
{
	for (unsigned i = 0; i < count; i++) {
		size_t len = strlen(text) + 1;

		words[i] = *at;
		*at += len;
		text += len;
	}
	words[count] = 0;
	return count + 1;
}

static const char *skip_strings(const char *text, unsigned count)
{
	while (count--)
		text += strlen(text) + 1;
	return text;
}

static int build_stack(struct uspace *space, struct process *p, const char *path,
		       const struct exec_args *args, const struct elf_image *image, uintptr_t *sp)
{
	struct stack s = {.space = space,
			  .sp = STACK_TOP - ((cpu_random() % STACK_RANDOM) << PAGE_SHIFT)};
	uint64_t random[2] = {cpu_random(), cpu_random()};
	size_t most = (args->argc + args->envc + 3UL + AUX_WORDS) * sizeof(uint64_t);
	uint64_t *words = kpages_alloc(most);
	uintptr_t name_at, random_at, at, vdso;
	unsigned n = 0;
	int error = words ? uspace_map(space, s.sp - STACK_FIRST, STACK_FIRST,
				       USPACE_READ | USPACE_WRITE | USPACE_GROWS_DOWN, NULL, 0, 0)
			  : -ENOMEM;

	if (!error && args->bytes + most > STACK_FIRST / 2)
		error = uspace_grow_stack(space, s.sp - args->bytes - most - PAGE_SIZE);
	if (error)
		goto out;
	space->mmap_top =
	    ALIGN_DOWN(s.sp - MIN(p->limits[RLIMIT_STACK].soft, STACK_GAP_MAX) - (16UL << 20),
		       PAGE_SIZE) -
	    ((cpu_random() % MMAP_RANDOM) << PAGE_SHIFT);
	error = vdso_map(space, &vdso);
	if (error)
		goto out;
	push(&s, path, strlen(path) + 1);
	name_at = s.sp;
	push(&s, args->text, args->bytes);
	at = p->arg_start = s.sp;
	push(&s, random, sizeof(random));
	random_at = s.sp;
	words[n++] = args->argc;
	n += fill_pointers(words + n, args->text, args->argc, &at);
	p->arg_end = at;
	n += fill_pointers(words + n, skip_strings(args->text, args->argc), args->envc, &at);
	n += fill_auxv(words + n, image, vdso, random_at, name_at);
	s.sp = ALIGN_DOWN(s.sp - n * sizeof(*words), 16UL) + n * sizeof(*words);
	push(&s, words, n * sizeof(*words));
	*sp = s.sp;
	error = s.error;
out:
	if (words)
		kpages_free(words, most);
	return error;
}

// ---- finding what to load ----

// A script's first line: the interpreter and perhaps one argument; both end up in `line`.
static bool parse_script(char *line, size_t len, char **interpreter, char **argument)
{
	char *end = memchr(line, '\n', len), *p = line + 2;

	if (len < 3 || line[0] != '#' || line[1] != '!' || !end)
		return false;
	*end = 0;
	while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = 0;
	while (*p == ' ' || *p == '\t')
		p++;
	*interpreter = p;
	while (*p && *p != ' ' && *p != '\t')
		p++;
	while (*p == ' ' || *p == '\t')
		*p++ = 0;
	*argument = *p ? p : NULL;
	return **interpreter == '/';
}

static int open_program(const char *path, struct stream **out)
{
	struct stream_stat st;
	struct stream *named; // may be a descriptor of the program's own (/proc/self/fd)
	int error = path_open(path, strlen(path), STREAM_RDONLY, 0, &named);

	if (error)
		return error;
	error = named->ops->stat ? named->ops->stat(named, &st) : -EACCES;
	if (!error && (named->ops->kind != STREAM_FILE || !(st.mode & 0111)))
		error = -EACCES;
	*out = named;
	if (!error && named->ops->run)
		error = named->ops->run(named, out);
	if (error || *out != named)
		stream_put(named);
	return error;
}

// Opens the program that is to be loaded for `path`: itself, or the interpreter that it names. `path` (PATH_BYTES)
// becomes the path of what was opened.
static int resolve_program(char *path, struct exec_args *args, struct stream **out)
{
	char line[LINE_BYTES], *interpreter, *argument;

	for (unsigned deep = 0; deep <= SCRIPTS_DEEP; deep++) {
		struct stream_part part = {(uintptr_t)line, sizeof(line) - 1};
		struct stream_io io = {
		    .parts = &part, .count = 1, .left = sizeof(line) - 1, .kernel = true};
		int error = open_program(path, out);
		int64_t got;

		if (error)
			return error;
		got = stream_read_at(*out, &io, 0);
		if (got < 2 || line[0] != '#' || line[1] != '!')
			return got < 0 ? (stream_put(*out), (int)got) : 0;
		stream_put(*out);
		if (!parse_script(line, (size_t)got, &interpreter, &argument))
			return -ENOEXEC;
		error = args_replace_first(args, interpreter, argument, path);
		if (error)
			return error;
		kstrlcpy(path, interpreter, PATH_BYTES);
	}
	return -ELOOP;
}

int exec_build(char *path, struct exec_args *args, struct process *p, struct uspace **space,
	       struct trap_frame *frame)
{
	struct stream *program;
	struct elf_image image;
	uintptr_t sp = 0;
	int error = resolve_program(path, args, &program);

	if (error)
		return error;
	*space = uspace_new();
	error = *space ? elf_load(*space, program, &image) : -ENOMEM;
	if (*space)
		(*space)->program = program;
	else
		stream_put(program);
	if (!error) {
		uspace_set_limits(*space, p->limits[RLIMIT_STACK].soft, p->limits[RLIMIT_AS].soft,
				  p->limits[RLIMIT_DATA].soft);
		(*space)->brk_start = (*space)->brk =
		    image.brk + ((cpu_random() % BRK_RANDOM) << PAGE_SHIFT);
		error = build_stack(*space, p, path, args, &image, &sp);
	}
	if (error && *space) {
		uspace_put(*space);
		*space = NULL;
	}
	if (!error)
		*frame = (struct trap_frame){.rip = image.entry,
					     .rsp = sp,
					     .rflags = BIT(1) | BIT(9),
					     .cs = SELECTOR_USER_CODE,
					     .ss = SELECTOR_USER_DATA,
					     .vector = TRAP_FRESH};
	return error;
}

void process_name(struct process *p, const char *path)
{
	const char *slash = strrchr(path, '/');

	spin_lock_wtd(&process_lock);
	kstrlcpy(p->name, slash ? slash + 1 : path, sizeof(p->name));
	p->executed = true;
	spin_unlock_wtd(&process_lock);
}

// "/proc/self/exe" means another program once this one has another name: what it leads to now is what is run.
static void leave_proc(char *path)
{
	const char *rest;
	size_t rest_len;
	const struct name_provider *p = path_provider(path, strlen(path), &rest, &rest_len);
	char *target = strcmp(p ? p->prefix : "", "/proc") ? NULL : kpages_alloc(PATH_BYTES);
	int64_t len = target ? p->read_link(rest, rest_len, target, PATH_BYTES) : 0;

	if (len > 0 && len < PATH_BYTES && target[0] == '/') {
		target[len] = 0;
		kstrlcpy(path, target, PATH_BYTES);
	}
	if (target)
		kpages_free(target, PATH_BYTES);
}

int64_t process_execve(char *path, struct exec_args *args)
{
	struct task *t = task_current();
	struct process *p = t->process;
	struct uspace *space, *old;
	struct trap_frame frame;
	char name[sizeof(p->name)];
	int error;

	kstrlcpy(name, strrchr(path, '/') + 1, sizeof(name)); // a script's, not its interpreter's
	leave_proc(path);
	error = exec_build(path, args, p, &space, &frame);
	if (error)
		return error;
	error = process_single(p); // the other tasks end; -EINTR when another one got there first
	if (error) {
		uspace_put(space);
		return error;
	}
	futex_robust_exit(t); // what it has was known by the number that it had
	task_take_pid(t);
	process_name(p, name);
	kstrlcpy(p->program, path, PATH_BYTES);
	signal_exec(p);
	process_timers_drop(p);
	files_close_on_exec(p);
	old = p->space;
	p->space = space;
	task_use_space(t, space);
	uspace_put(old);
	process_vfork_over(p);
	fpu_reset(t->fpu);
	fpu_restore(t->fpu);
	task_set_bases(t, 0, 0);
	t->clear_tid = t->robust_list = 0;
	t->alternate = (struct signal_stack){.flags = SS_DISABLE};
	*t->frame = frame;
	return 0;
}
