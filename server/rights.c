// SPDX-License-Identifier: BSD-2-Clause
// The one place that decides who may do what: see rights.h. What anybody may do needs no credentials, and
// those that are sent are then not looked at. Fast WTD context.
#include "server/rights.h"
#include "fs/file.h"
#include "kernel/cmdline.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "server/auth.h"
#include "server/http_conn.h"
#include "server/http_recall.h"
#include "server/users.h"

#define CHANGES (RIGHT_WRITE | RIGHT_CREATE | RIGHT_ERASE)

static struct users *users; // null: no file
static uint32_t table;	    // counts rights_install
static uint64_t denied;
KSTAT_COUNTER(denied, "pagewire_rights_denied_total",
	      "Requests by known users, or by anybody where none would do, that lacked rights");

static bool writing;

static bool set_write(const char *value)
{
	writing = value && strcmp(value, "on") == 0;
	volume_set_write(writing);
	return writing || (value && strcmp(value, "off") == 0);
}
CMDLINE_OPTION(write, "write", "write=on | write=off  whether clients may change files", set_write);

bool rights_writing(void)
{
	return writing;
}

static bool changeable(void)
{
	return writing && http_root && volume_writable(http_root);
}

const struct users *rights_users(void)
{
	return users;
}

void rights_install(struct users *next)
{
	struct users *old = users;

	users = next;
	table++;
	http_recall_forget();
	auth_forget(table);
	if (old)
		users_free(old);
}

static bool known(const struct rights_who *who)
{
	return who->state == WHO_KNOWN && who->table == table;
}

static bool reserved(const char *path, size_t len)
{
	static const char prefix[] = ".pagewire";
	size_t n = sizeof(prefix) - 1;

	return len >= n && memcmp(path, prefix, n) == 0 && (len == n || path[n] == '/');
}

unsigned rights_of(const struct rights_who *who, const char *path, size_t len)
{
	unsigned rights = users_rights(users, known(who) ? who->user : USER_ANYBODY, path, len);

	if (reserved(path, len))
		return 0;
	return changeable() ? rights : rights & ~(unsigned)CHANGES;
}

const char *rights_line_below(const char *path, size_t len, uint32_t *cursor, size_t *line_len)
{
	while (users && *cursor < users->trustee_count) {
		const struct trustee *t = &users->trustees[(*cursor)++];
		*line_len = t->len;
		if (t->len > len && memcmp(t->path, path, len) == 0 &&
		    (len == 0 || t->path[len] == '/'))
			return t->path;
	}
	return NULL;
}

const char *rights_user(const struct http_exchange *x, size_t *len)
{
	if (!known(&x->who) || !users)
		return NULL;
	*len = users->users[x->who.user].name_len;
	return users->users[x->who.user].name;
}

static int deny(struct http_exchange *x, int status, const char *reason)
{
	denied += status == 403;
	x->reason = reason;
	return status;
}

static int refused_for(struct http_exchange *x, enum auth_result result)
{
	switch (result) {
	case AUTH_LATER:
		return -EAGAIN;
	case AUTH_TOO_MANY:
		return deny(x, 429, "There were too many wrong passwords.");
	case AUTH_BUSY:
		return deny(x, 503, "Too many passwords are being verified.");
	case AUTH_WRONG:
		return deny(x, 401, "That user and password are not known here.");
	default:
		return deny(x, 401, "This needs a user and a password.");
	}
}

static bool has(const struct http_exchange *x, const char *path, size_t len, unsigned rights,
		bool any)
{
	unsigned have = rights_of(&x->who, path, len) & rights;

	return any ? have != 0 : have == rights;
}

// What is known of who asks is not enough.
static int ask(struct http_exchange *x, const char *path, size_t len, unsigned rights, bool any)
{
	enum auth_result result;

	if (known(&x->who))
		return deny(x, 403, "You have no right to do that here.");
	if (!users || !users->user_count)
		return deny(x, 403, "Nobody has the right to do that here.");
	result = auth_ask(x, users, table);
	if (result != AUTH_KNOWN)
		return refused_for(x, result);
	if (has(x, path, len, rights, any))
		return 0;
	return deny(x, 403, "You have no right to do that here.");
}

int rights_check(struct http_exchange *x, const char *path, size_t len, unsigned rights)
{
	if (UNLIKELY(reserved(path, len)))
		return deny(x, 403, "That place is the server's own.");
	if (LIKELY(!users && !(rights & CHANGES)))
		return 0;
	if (rights & CHANGES && !writing)
		return deny(x, 403, "This server only reads: it was started without write=on.");
	if (rights & CHANGES && !changeable())
		return deny(x, 403, "The volume is read-only.");
	return has(x, path, len, rights, false) ? 0 : ask(x, path, len, rights, false);
}

int rights_check_any(struct http_exchange *x, const char *path, size_t len)
{
	const unsigned all = RIGHT_READ | RIGHT_LIST | CHANGES;

	return !users || has(x, path, len, all, true) ? 0 : ask(x, path, len, all, true);
}

void rights_challenge(const struct http_exchange *x, struct text *t)
{
	auth_challenge(x, users, t);
}
