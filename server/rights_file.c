// SPDX-License-Identifier: BSD-2-Clause
// Reading the users file: see rights_file.h. Worker and thread context.
#include "server/rights_file.h"
#include "fs/name.h"
#include "fs/pagecache.h"
#include "fs/volume.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/pmm.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"
#include "kernel/wtd.h"
#include "server/http_conn.h"
#include "server/rights.h"
#include "server/users.h"

#define CHECK_NS (5 * NS_PER_SEC)

struct version { // what tells one state of the file from another
	uint64_t number, size;
	int64_t mtime_sec;
	uint32_t generation, mtime_nsec;
};

static struct mutex loading = MUTEX_INIT("users file");
static struct version loaded; // (loading) number 0: there was no file
static bool any_table;	      // (loading)
// What rights_hides knows; changed with WTDs disabled.
static uint64_t hidden[RIGHTS_HIDDEN_MAX];
static unsigned hidden_count;
static struct wtd check;
static uint64_t checked_names; // name_generation at the last check

bool rights_hides(const struct inode *inode)
{
	for (unsigned i = 0; i < hidden_count; i++)
		if (inode->number == hidden[i] && inode->volume == http_root)
			return true;
	return false;
}

// The processor reads these bytes, and no others of any file: through the window, page by page.
static int read_bytes(struct inode *inode, char *to, size_t len)
{
	for (size_t at = 0; at < len; at += PAGE_SIZE) {
		struct page *page;
		int status = pagecache_get_wait(inode, at / PAGE_SIZE, &page);
		if (status)
			return status;
		memcpy(to + at, vmm_window_open(page), MIN(PAGE_SIZE, len - at));
		vmm_window_close(page);
		page_wire_put(page);
	}
	return 0;
}

static int find(struct inode **inode)
{
	int status = name_find_wait(http_root, RIGHTS_FILE, strlen(RIGHTS_FILE), inode);

	if (status == 0 && (*inode)->type != INODE_FILE) {
		inode_put(*inode);
		return -EINVAL;
	}
	return status == -ENOTDIR ? -ENOENT : status;
}

static struct version version_of(const struct inode *inode)
{
	return (struct version){.number = inode->number,
				.generation = inode->generation,
				.size = inode->size,
				.mtime_sec = inode->mtime_sec,
				.mtime_nsec = inode->mtime_nsec};
}

static int read_file(char **text, size_t *len, struct version *version)
{
	struct inode *inode;
	int status = http_root ? find(&inode) : -ENOENT;

	*version = (struct version){0};
	if (status)
		return status;
	*version = version_of(inode);
	*len = inode->size;
	*text = NULL;
	status = inode->size > USERS_FILE_MAX ? -EFBIG : 0;
	if (!status && !(*text = kpages_alloc_raw(USERS_FILE_MAX)))
		status = -ENOMEM;
	if (!status)
		status = read_bytes(inode, *text, *len);
	if (status && *text)
		kpages_free(*text, USERS_FILE_MAX);
	inode_put(inode);
	return status;
}

int rights_file_read(char **text, size_t *len)
{
	struct version version;

	return read_file(text, len, &version);
}

struct hide {
	uint64_t number[RIGHTS_HIDDEN_MAX];
	unsigned count;
};

static bool visit(void *ctx, const struct dir_entry *entry)
{
	struct hide *h = ctx;

	h->number[h->count++] = entry->number;
	return h->count < RIGHTS_HIDDEN_MAX;
}

// The directory and what is in it: no link may lead there.
static void hide(void)
{
	struct hide h = {.count = 0};
	struct inode *dir;
	uint64_t cursor = 0;

	if (http_root &&
	    name_find_wait(http_root, RIGHTS_DIRECTORY, strlen(RIGHTS_DIRECTORY), &dir) == 0) {
		h.number[h.count++] = dir->number;
		if (inode_read_dir(dir, &cursor, visit, &h) != 0)
			kprintf("rights: /" RIGHTS_DIRECTORY " cannot be listed\n");
		inode_put(dir);
	}
	wtd_disable();
	memcpy(hidden, h.number, h.count * sizeof(*hidden));
	hidden_count = h.count;
	wtd_enable();
}

static void install(struct users *users)
{
	wtd_disable();
	rights_install(users);
	wtd_enable();
	any_table = true;
}

static int load(void)
{
	struct users_error error = {0, "it cannot be read"};
	struct users *users = NULL;
	struct version version;
	char *text = NULL;
	size_t len = 0;
	int status = read_file(&text, &len, &version);

	hide();
	loaded = version;
	if (status == -ENOENT) {
		install(NULL);
		return 0;
	}
	if (status == 0) {
		users = users_parse(text, len, &error);
		memset(text, 0, len);
		kpages_free(text, USERS_FILE_MAX);
	}
	if (users) {
		kprintf("rights: %u users, %u trustees\n", users->user_count, users->trustee_count);
		install(users);
		return 0;
	}
	kprintf("rights: /" RIGHTS_FILE " line %u: %s; %s\n", error.line, error.reason,
		any_table ? "nothing changes" : "nobody may do anything");
	if (!any_table)
		install(users_parse("", 0, &error));
	return status ? status : -EINVAL;
}

int rights_file_load(void)
{
	int status;

	mutex_lock(&loading);
	status = load();
	mutex_unlock(&loading);
	return status;
}

static bool changed(void)
{
	struct inode *inode;
	struct version now = {0};
	int status = find(&inode);

	if (status && status != -ENOENT && status != -EINVAL)
		return false; // cannot tell; the next time
	if (status == 0) {
		now = version_of(inode);
		inode_put(inode);
	}
	return memcmp(&now, &loaded, sizeof(now)) != 0;
}

static void check_work(struct wtd *work)
{
	uint64_t names = name_generation();

	if (names != checked_names && changed())
		(void)rights_file_load();
	checked_names = names;
	wtd_post_after(&check, WTD_SLEEP, CHECK_NS);
}

void rights_file_start(void)
{
	(void)rights_file_load();
	if (!http_root)
		return;
	checked_names = name_generation();
	wtd_init(&check, check_work, "users file");
	wtd_post_after(&check, WTD_SLEEP, CHECK_NS);
}
