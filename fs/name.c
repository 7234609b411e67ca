// SPDX-License-Identifier: BSD-2-Clause
// From a path to an inode: the first half of the read path's stage 6. For a path that was asked for
// before, name_find_cached needs one probe of the name cache and one of the inode cache. Otherwise it
// looks for the directory's path and then for the name in it, and remembers the whole. What it cannot
// answer, a worker finds out on the disk and remembers.
//
// A path that ends in '/' must lead to a directory (POSIX 4.13); repeated slashes count as one.
#include "fs/name.h"
#include "fs/transaction.h"
#include "fs/volume_private.h"

#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pool.h"
#include "kernel/thread.h"

#define PATH_BYTES_MAX 4096 // of a path, and of what is left to walk after a link was put in
#define NAME_BYTES_MAX 255
#define LINKS_MAX      40

// A path in two parts. "a/b//c/" is dir "a/b", name "c", must be a directory.
struct split {
	const char *dir, *name;
	size_t dir_len, name_len;
	size_t len; // of the whole without slashes at the end
	bool must_dir;
};

static uint64_t looked_up, walked, links_followed;
KSTAT_COUNTER(looked_up, "pagewire_name_lookups_total", "Names asked of a volume's directories.");
KSTAT_COUNTER(walked, "pagewire_name_walks_total", "Paths that the name cache could not answer.");
KSTAT_COUNTER(links_followed, "pagewire_name_links_total", "Symbolic links read and followed.");

static size_t trim_slashes(const char *path, size_t len)
{
	while (len && path[len - 1] == '/')
		len--;
	return len;
}

// False: too long. Without slashes at either end; the rest is split_name's.
static bool trim_path(const char *path, size_t len, struct split *out)
{
	if (len > PATH_BYTES_MAX)
		return false;
	while (len && *path == '/') {
		path++;
		len--;
	}
	out->dir = path;
	out->len = trim_slashes(path, len);
	out->must_dir = out->len < len;
	return true;
}

// False: the name is too long. The root has none.
static bool split_name(struct split *s)
{
	size_t at = s->len;
	while (at && s->dir[at - 1] != '/')
		at--;
	s->name = s->dir + at;
	s->name_len = s->len - at;
	s->dir_len = trim_slashes(s->dir, at);
	return s->name_len <= NAME_BYTES_MAX;
}

// name_lock held. False: the cache does not know. For a link the whole path would be known.
static bool recall_parts(struct volume *volume, const struct split *s, struct name_answer *answer)
{
	uint64_t dir = volume_filesystem(volume)->root_inode;
	if (s->dir_len) {
		if (!name_recall(NAME_PATH, volume, 0, s->dir, s->dir_len, answer))
			return false;
		if (!answer->error && answer->type != INODE_DIRECTORY)
			answer->error = -ENOTDIR;
		if (answer->error)
			return true;
		dir = answer->number;
	}
	return name_recall(NAME_ENTRY, volume, dir, s->name, s->name_len, answer) &&
	       (answer->error || answer->type != INODE_SYMLINK);
}

// The path was not asked for before, or long ago.
static int recall_slowly(struct volume *volume, struct split *s, struct name_answer *answer)
{
	uint64_t since = name_generation();
	if (!split_name(s))
		return -ENAMETOOLONG;
	spin_lock_wtd(&name_lock);
	bool known = recall_parts(volume, s, answer);
	spin_unlock_wtd(&name_lock);
	if (!known)
		return -EAGAIN;
	name_remember(NAME_PATH, volume, 0, s->dir, s->len, answer, since);
	return 0;
}

int name_find_cached(struct volume *volume, const char *path, size_t len, struct inode **out)
{
	struct name_answer answer;
	struct split s;
	*out = NULL;
	if (!trim_path(path, len, &s))
		return -ENAMETOOLONG;
	if (!s.len) {
		*out = volume_root_inode(volume);
		return 0;
	}
	// Nobody may forget the name, delete the inode and make another of that number in between.
	wtd_disable();
	spin_lock_wtd(&name_lock);
	bool known = name_recall(NAME_PATH, volume, 0, s.dir, s.len, &answer);
	spin_unlock_wtd(&name_lock);
	int error = known ? 0 : recall_slowly(volume, &s, &answer);
	if (!error)
		error = answer.error;
	if (!error && s.must_dir && answer.type != INODE_DIRECTORY)
		error = -ENOTDIR;
	if (!error)
		*out = inode_find_cached(volume, answer.number);
	wtd_enable();
	return error ? error : *out ? 0 : -EAGAIN;
}

// ---- the slow way: thread or worker context ----

// Two texts, so that a link's target and what was left behind it can be put together in the other one.
struct walk_buffer {
	char text[2][PATH_BYTES_MAX];
};
// One for each worker that may be at it; who finds none gets -ENOMEM.
static struct pool buffer_pool = POOL_INIT("name-walk", struct walk_buffer, 256);

struct walk {
	struct volume *volume;
	struct inode *at; // with a reference
	unsigned links;
	struct walk_buffer *buffer; // null until the first link
	unsigned which;		    // text not in use
	const char *rest;	    // still to be walked
	size_t left;
};

static void move_to(struct walk *w, struct inode *inode)
{
	inode_put(w->at);
	w->at = inode;
}

// The name in directory w->at, from memory or from the disk, with a reference. The volume's lock is held: the
// inode is the one that the name leads to, whoever changes the directory.
static int child_locked(struct walk *w, const char *name, size_t len, struct inode **child)
{
	struct volume *volume = w->volume;
	uint64_t dir = w->at->number, since = name_generation();
	struct name_answer answer;
	spin_lock_wtd(&name_lock);
	bool known = name_recall(NAME_ENTRY, volume, dir, name, len, &answer);
	spin_unlock_wtd(&name_lock);
	if (known && answer.error)
		return answer.error;
	if (!known) {
		answer = (struct name_answer){0};
		looked_up++;
		answer.error = volume_filesystem(volume)->lookup(w->at, name, len, &answer.number);
	}
	int error = answer.error ? answer.error : inode_open_locked(volume, answer.number, child);
	if (!answer.error && error == -ENOENT)
		return -EUCLEAN; // a name without an inode
	if (!known && (!error || error == -ENOENT)) {
		answer.type = error ? INODE_OTHER : (*child)->type;
		name_remember(NAME_ENTRY, volume, dir, name, len, &answer, since);
	}
	return error;
}

static int child_of(struct walk *w, const char *name, size_t len, struct inode **child)
{
	volume_lock_shared(w->volume);
	int error = child_locked(w, name, len, child);
	volume_unlock_shared(w->volume);
	return error;
}

// The link's target takes the place of its name in the path.
static int follow(struct walk *w, struct inode *link)
{
	if (++w->links > LINKS_MAX)
		return -ELOOP;
	if (!w->buffer)
		w->buffer = pool_alloc(&buffer_pool);
	if (!w->buffer)
		return -ENOMEM;
	links_followed++;
	char *text = w->buffer->text[w->which];
	volume_lock_shared(w->volume);
	int len = volume_filesystem(w->volume)->read_link(link, text, PATH_BYTES_MAX);
	volume_unlock_shared(w->volume);
	if (len < 0)
		return len;
	if (!len)
		return -ENOENT;
	if ((size_t)len + w->left > PATH_BYTES_MAX)
		return -ENAMETOOLONG;
	memcpy(text + len, w->rest, w->left);
	w->rest = text;
	w->left += (size_t)len;
	w->which ^= 1;
	if (text[0] == '/')
		move_to(w, volume_root_inode(w->volume));
	return 0;
}

// One component: ".", "..", a name, or a link, whose target is walked next.
static int step(struct walk *w, const char *name, size_t len)
{
	struct inode *child;
	if (w->at->type != INODE_DIRECTORY)
		return -ENOTDIR;
	if (len == 1 && name[0] == '.')
		return 0;
	if (len == 2 && name[0] == '.' && name[1] == '.' &&
	    w->at->number == volume_filesystem(w->volume)->root_inode)
		return 0;
	if (len > NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	int error = child_of(w, name, len, &child);
	if (error)
		return error;
	if (child->type != INODE_SYMLINK) {
		move_to(w, child);
		return 0;
	}
	error = follow(w, child);
	inode_put(child);
	return error;
}

// Walks text from w->at, which afterwards is where it leads.
static int walk(struct walk *w, const char *text, size_t len)
{
	int error = 0;
	w->rest = text;
	w->left = len;
	while (!error && w->left) {
		const char *name = w->rest;
		size_t n = 0;
		if (*name == '/') {
			w->rest++;
			w->left--;
			if (w->at->type != INODE_DIRECTORY)
				error = -ENOTDIR;
			continue;
		}
		while (n < w->left && name[n] != '/')
			n++;
		w->rest += n;
		w->left -= n;
		error = step(w, name, n);
	}
	return error;
}

static bool worth_remembering(int error)
{
	return !error || error == -ENOENT || error == -ENOTDIR || error == -ELOOP;
}

static void remember_path(struct walk *w, const char *path, size_t len, int error, uint64_t since)
{
	struct name_answer answer = {.error = error, .type = w->at->type, .number = w->at->number};
	if (worth_remembering(error))
		name_remember(NAME_PATH, w->volume, 0, path, len, &answer, since);
}

// To the directory, then to the name in it.
static int walk_split(struct walk *w, const struct split *s)
{
	uint64_t since = name_generation();
	int error = 0;
	if (s->dir_len) {
		error = walk(w, s->dir, s->dir_len);
		remember_path(w, s->dir, s->dir_len, error, since);
		if (!error && w->at->type != INODE_DIRECTORY)
			error = -ENOTDIR;
	}
	if (error || !s->name_len)
		return error;
	unsigned links = w->links;
	error = walk(w, s->name, s->name_len);
	if (w->links > links)
		remember_path(w, s->dir, s->len, error, since);
	if (!error && s->must_dir && w->at->type != INODE_DIRECTORY)
		error = -ENOTDIR;
	return error;
}

static int resolve(struct volume *volume, const char *path, size_t len, struct inode **out)
{
	struct walk w = {.volume = volume};
	struct split s;
	*out = NULL;
	assert_may_sleep("name_find");
	if (!trim_path(path, len, &s) || !split_name(&s))
		return -ENAMETOOLONG;
	walked++;
	w.at = volume_root_inode(volume);
	int error = walk_split(&w, &s);
	if (w.buffer)
		pool_free(&buffer_pool, w.buffer);
	if (error)
		inode_put(w.at);
	else
		*out = w.at;
	return error;
}

int name_find_wait(struct volume *volume, const char *path, size_t len, struct inode **out)
{
	int error = name_find_cached(volume, path, len, out);
	return error == -EAGAIN ? resolve(volume, path, len, out) : error;
}

int name_find_entry_wait(struct volume *volume, const char *path, size_t len, struct inode **out)
{
	struct walk w = {.volume = volume};
	struct split s;
	if (!trim_path(path, len, &s) || !split_name(&s))
		return -ENAMETOOLONG;
	if (!s.name_len || s.must_dir)
		return name_find_wait(volume, path, len, out);
	int error = name_find_wait(volume, s.dir, s.dir_len, &w.at);
	if (error)
		return error;
	error = w.at->type == INODE_DIRECTORY ? child_of(&w, s.name, s.name_len, out) : -ENOTDIR;
	inode_put(w.at);
	return error;
}

// ---- requests ----
//
//	IDLE --name_find--> ASKED --worker--> WALKING --> TOLD --its WTD--> IDLE, done called
enum name_stage { NAME_IDLE, NAME_ASKED, NAME_WALKING, NAME_TOLD };

static void deliver(struct wtd *work)
{
	struct name_request *request = CONTAINER_OF(work, struct name_request, work);
	request->stage = NAME_IDLE;
	request->done(request);
}

static void work_on(struct wtd *work)
{
	struct name_request *request = CONTAINER_OF(work, struct name_request, work);
	struct inode *inode = NULL;
	spin_lock_wtd(&name_lock);
	request->stage = NAME_WALKING;
	spin_unlock_wtd(&name_lock);
	int status = name_find_wait(request->volume, request->path, request->len, &inode);
	spin_lock_wtd(&name_lock);
	request->status = status;
	request->inode = inode;
	request->stage = NAME_TOLD;
	wtd_init(&request->work, deliver, "name_find");
	wtd_post_fast(&request->work);
	spin_unlock_wtd(&name_lock);
}

void name_find(struct name_request *request)
{
	request->stage = NAME_ASKED;
	request->cancelled = false;
	request->inode = NULL;
	wtd_init(&request->work, work_on, "name_find");
	wtd_post(&request->work);
}

bool name_cancel(struct name_request *request)
{
	struct inode *put = NULL;
	bool idle = true;
	spin_lock_wtd(&name_lock);
	if (request->stage != NAME_IDLE) {
		idle = wtd_cancel(&request->work);
		if (idle && request->stage == NAME_TOLD)
			put = request->inode;
		if (idle)
			request->stage = NAME_IDLE;
		else
			request->cancelled = true;
	}
	spin_unlock_wtd(&name_lock);
	if (put)
		inode_put(put);
	return idle;
}
