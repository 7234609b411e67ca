// SPDX-License-Identifier: BSD-2-Clause
// Work for tests/e2e/test_power.py, which kills the machine in the middle of it: on a volume labelled SCRATCH four
// threads each change names in a directory of their own, step by step, and say "kept THREAD STEP" when a step is
// promised to be on the disk. What a step does depends on its number only, so that the judge knows what must be
// there. Run to its end it is a test of its own: nothing fails, and everything is durable.
#include "fs/file.h"
#include "fs/name.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/thread.h"

#define THREADS 4
#define STEPS	400

struct worker {
	unsigned number;
	struct inode *dir;
	struct volume *volume;
	int error;
	unsigned step;
};
static struct worker workers[THREADS];
static volatile unsigned running;

static size_t name_of(char *out, size_t size, const char *kind, unsigned step)
{
	ksnprintf(out, size, "%s%u", kind, step);
	return strlen(out);
}

static int make_dir(struct worker *w, unsigned step)
{
	char name[24];
	struct inode *made;
	int error = dir_create(w->dir, name, name_of(name, sizeof(name), "dir", step), 0755, &made);
	if (!error)
		inode_put(made);
	return error;
}

static int make_link(struct worker *w, unsigned step)
{
	char name[24], target[200];
	struct inode *made;
	size_t len = name_of(target, sizeof(target), "target", step);
	if (step % 3 == 1) { // too long for the inode: a block of its own
		memset(target + len, 'x', 150);
		len += 150;
	}
	int error = symlink_create(w->dir, name, name_of(name, sizeof(name), "link", step), target,
				   len, &made);
	if (!error)
		inode_put(made);
	return error;
}

static int make_file(struct worker *w, unsigned step)
{
	char name[24];
	struct inode *file;
	int error = file_create(w->dir, 0644, &file);
	if (error)
		return error;
	error = file_link(w->dir, name, name_of(name, sizeof(name), "file", step), file, NAME_NEW);
	inode_put(file);
	return error;
}

static int move_link(struct worker *w, unsigned step)
{
	char from[24], to[24];
	size_t from_len = name_of(from, sizeof(from), "link", step - 4);
	return name_rename(w->dir, from, from_len, w->dir, to,
			   name_of(to, sizeof(to), "moved", step), NAME_NEW);
}

static int remove_link(struct worker *w, unsigned step)
{
	char name[24];
	return name_remove(w->dir, name, name_of(name, sizeof(name), "link", step - 4));
}

static int one_step(struct worker *w, unsigned step)
{
	switch (step % 8) {
	case 0:
		return make_dir(w, step);
	case 4:
	case 7:
		return make_file(w, step);
	case 5:
		return move_link(w, step);
	case 6:
		return remove_link(w, step);
	default:
		return make_link(w, step);
	}
}

static void work(void *arg)
{
	struct worker *w = arg;
	for (w->step = 0; w->step < STEPS && !w->error; w->step++) {
		w->error = one_step(w, w->step);
		if (!w->error)
			w->error = durable_wait_sync(w->volume, volume_ticket(w->volume));
		if (!w->error)
			kprintf("kept %u %u\n", w->number, w->step);
	}
	__atomic_sub_fetch(&running, 1, __ATOMIC_RELEASE);
}

static bool start(struct volume *volume, unsigned n)
{
	struct worker *w = &workers[n];
	char name[24];
	struct inode *root = volume_root_inode(volume);
	*w = (struct worker){.number = n, .volume = volume};
	w->error = dir_create(root, name, name_of(name, sizeof(name), "thread", n), 0755, &w->dir);
	inode_put(root);
	EXPECT_EQ(w->error, 0);
	if (w->error)
		return false;
	__atomic_add_fetch(&running, 1, __ATOMIC_RELAXED);
	bool made = thread_create("power", THREAD_NORMAL, work, w);
	EXPECT(made);
	return made;
}

KTEST("power", steps, "steps-of-four-threads-are-all-kept")
{
	struct volume *volume = volume_find("SCRATCH");
	unsigned n;
	if (!volume || !volume_writable(volume)) {
		ktest_skip("no writable volume SCRATCH");
		return;
	}
	kprintf("power: begins\n");
	for (n = 0; n < THREADS && start(volume, n); n++)
		;
	while (__atomic_load_n(&running, __ATOMIC_ACQUIRE))
		thread_sleep_ns(10 * NS_PER_MS);
	while (n--) {
		EXPECT_EQ(workers[n].error, 0);
		EXPECT_EQ(workers[n].step, STEPS);
		inode_put(workers[n].dir);
	}
}
