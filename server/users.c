// SPDX-License-Identifier: BSD-2-Clause
// Reading the users file, and asking the table: see users.h.
#include "server/users.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "server/http_text.h"
#include "server/http_uri.h"

struct words {
	char *text[8];
	size_t len[8];
	unsigned count;
};

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

// False: more than fit.
static bool cut(char *line, size_t len, struct words *w)
{
	size_t at = 0;

	w->count = 0;
	for (;;) {
		while (at < len && blank(line[at]))
			at++;
		if (at == len || (w->count == 0 && line[at] == '#'))
			return true;
		if (w->count == ARRAY_SIZE(w->text))
			return false;
		w->text[w->count] = line + at;
		while (at < len && !blank(line[at]))
			at++;
		w->len[w->count] = (size_t)(line + at - w->text[w->count]);
		w->count++;
	}
}

static bool is(const struct words *w, unsigned n, const char *word)
{
	return w->len[n] == strlen(word) && memcmp(w->text[n], word, w->len[n]) == 0;
}

bool users_name_ok(const char *name, size_t len)
{
	if (len == 0 || len > USERS_NAME_MAX || !utf8_valid(name, len) || name[0] == '#')
		return false;
	for (size_t i = 0; i < len; i++)
		if ((uint8_t)name[i] <= ' ' || name[i] == 0x7f || strchr(":\"\\*+/", name[i]))
			return false;
	return true;
}

static const struct {
	char letter;
	uint8_t right;
} letters[] = {
    {'R', RIGHT_READ},	 {'L', RIGHT_LIST},  {'W', RIGHT_WRITE},
    {'C', RIGHT_CREATE}, {'E', RIGHT_ERASE},
};
#define RIGHTS_ALL (RIGHT_READ | RIGHT_LIST | RIGHT_WRITE | RIGHT_CREATE | RIGHT_ERASE)

bool rights_parse(const char *text, size_t len, unsigned *rights)
{
	*rights = 0;
	if (len == 1 && text[0] == '-')
		return true;
	if (len == 3 && kstrncasecmp(text, "ALL", 3) == 0) {
		*rights = RIGHTS_ALL;
		return true;
	}
	for (size_t i = 0; i < len; i++) {
		unsigned found = 0;
		for (size_t n = 0; n < ARRAY_SIZE(letters); n++)
			if ((text[i] & ~0x20) == letters[n].letter)
				found = letters[n].right;
		if (!found)
			return false;
		*rights |= found;
	}
	return len > 0;
}

void rights_format(unsigned rights, char out[RIGHTS_TEXT])
{
	size_t at = 0;

	for (size_t n = 0; n < ARRAY_SIZE(letters); n++)
		if (rights & letters[n].right)
			out[at++] = letters[n].letter;
	if (at == 0)
		out[at++] = '-';
	out[at] = 0;
}

static bool hex_ok(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!((text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f')))
			return false;
	return true;
}

// The value of word n when it is "KEY" followed by so many hexadecimal digits.
static const char *secret(const struct words *w, unsigned n, const char *key, size_t digits)
{
	size_t len = strlen(key);

	if (w->len[n] != len + digits || memcmp(w->text[n], key, len) != 0 ||
	    !hex_ok(w->text[n] + len, digits))
		return NULL;
	return w->text[n] + len;
}

static const char *read_user(struct users *t, const struct words *w)
{
	static const char kind[] = "$argon2id$";
	struct user *u = &t->users[t->user_count];

	if (w->count < 3)
		return "a user has a name and a password's hash";
	if (!users_name_ok(w->text[1], w->len[1]))
		return "that is no name of a user";
	if (users_find(t, w->text[1], w->len[1]) != USER_UNKNOWN)
		return "that user stands twice";
	if (w->len[2] > USERS_HASH_MAX || w->len[2] < sizeof(kind) ||
	    memcmp(w->text[2], kind, sizeof(kind) - 1) != 0)
		return "that is no hash of a password that is known here";
	*u = (struct user){.name = w->text[1],
			   .name_len = (uint8_t)w->len[1],
			   .hash = w->text[2],
			   .hash_len = (uint8_t)w->len[2]};
	for (unsigned n = 3; n < w->count; n++) {
		const char *sha256 = secret(w, n, "digest-sha256=", USERS_SHA256_HEX);
		const char *md5 = secret(w, n, "digest-md5=", USERS_MD5_HEX);
		if (sha256)
			u->sha256 = sha256;
		else if (md5)
			u->md5 = md5;
		else if (is(w, n, "off"))
			u->off = true;
		else
			return "a user's flags are digest-sha256=, digest-md5= and off";
	}
	if (u->md5 && !u->sha256) // a client that knows both takes SHA-256
		return "digest-md5= stands beside digest-sha256= only";
	t->any_sha256 |= u->sha256 && !u->off;
	t->any_md5 |= u->md5 && !u->off;
	t->user_count++;
	return NULL;
}

static const char *read_trustee(struct users *t, const struct words *w)
{
	struct trustee *r = &t->trustees[t->trustee_count];
	char *decoded = t->scratch;
	struct http_path path;
	unsigned rights;
	int who;

	if (w->count != 4)
		return "a trustee has a path, a user and rights";
	if (w->text[1][0] != '/' || http_path_decode(w->text[1], w->len[1], decoded, &path) != 0)
		return "that is no path from the root";
	if (path.reserved)
		return "nobody has rights there";
	if (!rights_parse(w->text[3], w->len[3], &rights))
		return "rights are letters of RLWCE, ALL, or - for none";
	who = is(w, 2, "*")   ? USER_ANYBODY
	      : is(w, 2, "+") ? TRUSTEE_KNOWN
			      : users_find(t, w->text[2], w->len[2]);
	if (who == USER_UNKNOWN && !is(w, 2, "+"))
		return "there is no such user";
	memcpy(w->text[1], decoded, path.len); // never longer than what it was decoded from
	*r = (struct trustee){
	    .path = w->text[1], .len = path.len, .who = (int16_t)who, .rights = (uint8_t)rights};
	for (uint32_t i = 0; i < t->trustee_count; i++)
		if (t->trustees[i].who == r->who && t->trustees[i].len == r->len &&
		    memcmp(t->trustees[i].path, r->path, r->len) == 0)
			return "that trustee stands twice for that path";
	t->trustee_count++;
	return NULL;
}

static const char *read_line(struct users *t, char *line, size_t len, bool trustees)
{
	struct words w;

	if (memchr(line, 0, len) || !cut(line, len, &w))
		return "the line cannot be read";
	if (w.count == 0)
		return NULL;
	if (is(&w, 0, "user")) {
		if (!trustees && t->user_count == USERS_MAX)
			return "too many users";
		return trustees ? NULL : read_user(t, &w);
	}
	if (is(&w, 0, "trustee")) {
		if (trustees && t->trustee_count == TRUSTEES_MAX)
			return "too many trustees";
		return trustees ? read_trustee(t, &w) : NULL;
	}
	return "a line begins with user, trustee or #";
}

static struct users *make(const char *text, size_t len)
{
	size_t users = sizeof(struct users);
	size_t trustees = users + USERS_MAX * sizeof(struct user);
	size_t copy = trustees + TRUSTEES_MAX * sizeof(struct trustee);
	char *block = kpages_alloc(copy + len + HTTP_PATH_MAX);
	struct users *t = (struct users *)(void *)block;

	if (!t)
		return NULL;
	*t = (struct users){.users = (struct user *)(void *)(block + users),
			    .trustees = (struct trustee *)(void *)(block + trustees),
			    .bytes = copy + len + HTTP_PATH_MAX,
			    .text = block + copy,
			    .scratch = block + copy + len};
	memcpy(t->text, text, len);
	return t;
}

// Users first, so that trustees may stand anywhere.
struct users *users_parse(const char *text, size_t len, struct users_error *error)
{
	struct users *t = len <= USERS_FILE_MAX ? make(text, len) : NULL;

	*error =
	    (struct users_error){0, len > USERS_FILE_MAX ? "the file is too long" : "no memory"};
	for (unsigned pass = 0; t && pass < 2; pass++) {
		unsigned line = 1;
		for (size_t at = 0; at < len; line++) {
			char *end = memchr(t->text + at, '\n', len - at);
			size_t n = end ? (size_t)(end - (t->text + at)) : len - at;
			error->reason = read_line(t, t->text + at, n, pass);
			if (error->reason) {
				error->line = line;
				users_free(t);
				return NULL;
			}
			at += n + 1;
		}
	}
	return t;
}

void users_free(struct users *users)
{
	memset(users->text, 0, users->bytes - (size_t)(users->text - (char *)users));
	kpages_free(users, users->bytes);
}

int users_find(const struct users *users, const char *name, size_t len)
{
	for (uint32_t i = 0; users && i < users->user_count; i++)
		if (users->users[i].name_len == len && memcmp(users->users[i].name, name, len) == 0)
			return (int)i;
	return USER_UNKNOWN;
}

static bool covers(const struct trustee *t, const char *path, size_t len)
{
	return t->len <= len && (t->len == 0 || t->len == len || path[t->len] == '/') &&
	       memcmp(t->path, path, t->len) == 0;
}

unsigned users_rights(const struct users *users, int who, const char *path, size_t len)
{
	enum { OWN, KNOWN, ANYBODY, KINDS };
	const struct trustee *nearest[KINDS] = {0};
	unsigned rights = 0;

	if (!users)
		return RIGHT_READ | RIGHT_LIST;
	for (uint32_t i = 0; i < users->trustee_count; i++) {
		const struct trustee *t = &users->trustees[i];
		unsigned kind = t->who == USER_ANYBODY	  ? ANYBODY
				: t->who == TRUSTEE_KNOWN ? KNOWN
							  : OWN;
		if ((kind == OWN && t->who != who) || (kind == KNOWN && who < 0) ||
		    !covers(t, path, len))
			continue;
		if (!nearest[kind] || t->len >= nearest[kind]->len)
			nearest[kind] = t;
	}
	for (unsigned kind = 0; kind < KINDS; kind++)
		rights |= nearest[kind] ? nearest[kind]->rights : 0;
	return rights;
}
