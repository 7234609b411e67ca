// SPDX-License-Identifier: BSD-2-Clause
// The console's commands for users and their rights, named as NetWare's administrators knew them: USERS, USER,
// RIGHTS, GRANT, REVOKE. Each reads the file, changes it as text, and writes it when the whole of it can still be
// read; it counts from then on. Console thread.
#include "fs/volume.h"
#include "kernel/console.h"
#include "kernel/cpu.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/pmm.h"
#include "server/auth_digest.h"
#include "server/password.h"
#include "server/rights.h"
#include "server/rights_edit.h"
#include "server/rights_file.h"
#include "server/users.h"

#define LINE_MAX	(512 + 2 * DIGEST_SECRET_MAX)
#define RANDOM_PASSWORD 20

// The default, written out: what held without a file holds on.
static const char first_text[] = "# Who may do what: docs/security.md.\n"
				 "trustee / * RL\n";

static bool has_wish(int argc, char **argv, int from, const char *word)
{
	for (int i = from; i < argc; i++)
		if (kstrcasecmp(argv[i], word) == 0)
			return true;
	return false;
}

// Checks and writes it. False: it says why not.
static bool store(const char *text, size_t len)
{
	struct users_error error;
	struct users *users = users_parse(text, len, &error);
	int status;

	if (!users) {
		console_printf("Not changed: line %u of the users file would be wrong, %s.\n",
			       error.line, error.reason);
		return false;
	}
	users_free(users);
	status = rights_file_write(text, len);
	if (status == -EROFS)
		console_printf(
		    "Not changed: the volume is read-only, or write=on was not given.\n");
	else if (status == -ENODEV)
		console_printf("Not changed: there is no volume for the users file.\n");
	else if (status == -ENOSPC)
		console_printf("Not changed: the volume is full.\n");
	else if (status)
		console_printf("The users file cannot be written (error %d).\n", -status);
	return status == 0;
}

// One edit after the other. missing: what to say, and to change nothing, where the edits found no line of theirs; null:
// lines may be new.
static bool change(const struct rights_edit *edits, unsigned count, const char *missing)
{
	char *text = NULL, *to = kpages_alloc(USERS_FILE_MAX);
	unsigned taken = 0;
	bool good = false;
	size_t len = 0;
	int status = to ? rights_file_read(&text, &len) : -ENOMEM;

	if (status == -ENOENT && (text = kpages_alloc(USERS_FILE_MAX))) {
		len = sizeof(first_text) - 1;
		memcpy(text, first_text, len);
		status = 0;
	}
	for (unsigned i = 0; status == 0 && i < count; i++) {
		struct text t = {.out = to, .size = USERS_FILE_MAX};
		char *from = text;
		taken += rights_edit(from, len, &edits[i], &t);
		status = t.full ? -EFBIG : 0;
		len = t.len;
		text = to;
		to = from;
	}
	if (status)
		console_printf(status == -EFBIG
				   ? "Not changed: the users file would be too long.\n"
				   : "Not changed: the users file cannot be read (error %d).\n",
			       -status);
	else if (missing && !taken)
		console_printf("%s\n", missing);
	else
		good = store(text, len);
	if (to)
		kpages_free(to, USERS_FILE_MAX);
	if (text)
		kpages_free(text, USERS_FILE_MAX);
	return good;
}

// ---- users -------------------------------------------------------------------------------------------

static void random_password(char out[RANDOM_PASSWORD + 1])
{
	static const char letters[] =
	    "abcdefghijkmnopqrstuvwxyz23456789"; // nothing that looks alike
	unsigned at = 0;

	while (at < RANDOM_PASSWORD) {
		uint64_t word = cpu_random() & 63; // a letter in about two tries, each as likely
		if (word < sizeof(letters) - 1)
			out[at++] = letters[word];
	}
	out[at] = 0;
}

// The line of a user with that password. False: it says why not.
static bool user_line(const char *name, const char *password, bool digest, bool md5, char *line)
{
	char hash[USERS_HASH_MAX + 1], sha256[DIGEST_SECRET_MAX] = "", old[DIGEST_SECRET_MAX] = "";
	uint64_t salt[2] = {cpu_random(), cpu_random()};
	int status =
	    password_hash(password, strlen(password), (const uint8_t *)salt, hash, sizeof(hash));

	if (status) {
		console_printf(status == -ENOMEM ? "There is no memory to hash the password.\n"
						 : "That password cannot be hashed (error %d).\n",
			       -status);
		return false;
	}
	if (digest || md5)
		digest_secret(false, name, strlen(name), password, strlen(password), sha256);
	if (md5)
		digest_secret(true, name, strlen(name), password, strlen(password), old);
	ksnprintf(line, LINE_MAX, "user %s %s%s%s%s%s", name, hash,
		  *sha256 ? " digest-sha256=" : "", sha256, *old ? " digest-md5=" : "", old);
	memset(old, 0, sizeof(old));
	memset(sha256, 0, sizeof(sha256));
	return true;
}

static const char no_user[] = "There is no such user; USERS lists them.";

// USER ADD|PASSWORD name [password] [DIGEST|MD5]
static void set_user(int argc, char **argv, bool add)
{
	char random[RANDOM_PASSWORD + 1], line[LINE_MAX];
	const char *name = argv[2], *password = NULL;
	bool known;

	wtd_disable();
	known = users_find(rights_users(), name, strlen(name)) >= 0;
	wtd_enable();
	if (known == add) {
		console_printf(add ? "That user is there already; USER PASSWORD sets a password.\n"
				   : "There is no such user; USERS lists them.\n");
		return;
	}
	if (!users_name_ok(name, strlen(name))) {
		console_printf("A user's name is UTF-8, with none of : \" \\ * + / in it.\n");
		return;
	}
	if (argc > 3 && kstrcasecmp(argv[3], "DIGEST") != 0 && kstrcasecmp(argv[3], "MD5") != 0)
		password = argv[3];
	if (!password) {
		random_password(random);
		password = random;
	}
	const struct rights_edit edit = {.kind = "user", .first = name, .line = line};
	if (user_line(name, password, has_wish(argc, argv, 3, "DIGEST"),
		      has_wish(argc, argv, 3, "MD5"), line) &&
	    change(&edit, 1, add ? NULL : no_user)) {
		console_printf("User %s.", name);
		console_printf(password == random ? " The password is %s\n" : "\n", random);
	}
	memset(random, 0, sizeof(random));
	memset(line, 0, sizeof(line));
}

static void user_command(int argc, char **argv)
{
	bool add = argc > 2 && kstrcasecmp(argv[1], "ADD") == 0;
	bool password = argc > 2 && kstrcasecmp(argv[1], "PASSWORD") == 0;

	if (add || password) {
		set_user(argc, argv, add);
	} else if (argc == 3 && kstrcasecmp(argv[1], "REMOVE") == 0) {
		const struct rights_edit edits[] = {
		    {.kind = "user", .first = argv[2]},
		    {.kind = "trustee", .second = argv[2]},
		};
		if (change(edits, ARRAY_SIZE(edits), no_user))
			console_printf("User %s is removed.\n", argv[2]);
	} else {
		console_printf(
		    "USER ADD name [password] [DIGEST|MD5]; USER PASSWORD name [password] "
		    "[DIGEST|MD5]; USER REMOVE name\n");
	}
}
CONSOLE_COMMAND(user, "USER", "USER ADD|PASSWORD|REMOVE name [password] [DIGEST|MD5]",
		"Adds or removes a user, or sets a password (without one: a random one).",
		user_command);

static void print_trustee(const struct trustee *t, const struct users *users)
{
	char rights[RIGHTS_TEXT];
	const struct user *u = t->who >= 0 ? &users->users[t->who] : NULL;

	rights_format(t->rights, rights);
	console_printf("  %-5s  %-16.*s  /%.*s\n", rights, u ? u->name_len : 1,
		       u			? u->name
		       : t->who == USER_ANYBODY ? "*"
						: "+",
		       t->len, t->path);
}

// The table may be replaced while this prints: a copy of the file would be stale just as well, so it holds
// WTDs off, a user at a time.
static void users_command(int argc, char **argv)
{
	for (uint32_t i = 0;; i++) {
		struct user u;
		char name[USERS_NAME_MAX + 1];
		wtd_disable();
		const struct users *users = rights_users();
		bool there = users && i < users->user_count;
		if (there) {
			u = users->users[i];
			memcpy(name, u.name, u.name_len);
			name[u.name_len] = 0;
		}
		wtd_enable();
		if (!there) {
			console_printf(
			    i || users ? ""
				       : "There is no users file: everybody reads and lists.\n");
			return;
		}
		console_printf("%-24s %s%s%s\n", name, u.off ? "off " : "",
			       u.sha256 ? "digest " : "", u.md5 ? "md5" : "");
	}
}
CONSOLE_COMMAND(users, "USERS", "USERS", "Lists the users.", users_command);

// ---- rights ------------------------------------------------------------------------------------------

static void rights_command(int argc, char **argv)
{
	char *text = NULL;
	size_t len = 0;
	struct users_error error;
	struct users *users;

	if (rights_file_read(&text, &len) != 0) {
		console_printf("There is no users file: everybody reads and lists.\n");
		return;
	}
	users = users_parse(text, len, &error);
	kpages_free(text, USERS_FILE_MAX);
	if (!users) {
		console_printf("Line %u of the users file is wrong: %s.\n", error.line,
			       error.reason);
		return;
	}
	for (uint32_t i = 0; i < users->trustee_count; i++)
		print_trustee(&users->trustees[i], users);
	users_free(users);
}
CONSOLE_COMMAND(rights, "RIGHTS", "RIGHTS",
		"Lists the trustees and their rights: Read, List, Write, Create, Erase.",
		rights_command);

// GRANT rights FOR path TO user; REVOKE FOR path FROM user
static void grant_command(int argc, char **argv)
{
	char line[LINE_MAX];
	unsigned rights;

	if (argc != 6 || kstrcasecmp(argv[2], "FOR") != 0 || kstrcasecmp(argv[4], "TO") != 0 ||
	    !rights_parse(argv[1], strlen(argv[1]), &rights)) {
		console_printf(
		    "GRANT rights FOR path TO user: rights of RLWCE, ALL, or - for none; "
		    "user * is anybody, + any known user\n");
		return;
	}
	ksnprintf(line, sizeof(line), "trustee %s %s %s", argv[3], argv[5], argv[1]);
	const struct rights_edit edit = {"trustee", argv[3], argv[5], line};
	if (change(&edit, 1, NULL))
		console_printf("%s has %s for %s.\n", argv[5], argv[1], argv[3]);
}
CONSOLE_COMMAND(grant, "GRANT", "GRANT rights FOR path TO user",
		"Makes a user a trustee of a directory (* anybody, + any known user).",
		grant_command);

static void revoke_command(int argc, char **argv)
{
	if (argc != 5 || kstrcasecmp(argv[1], "FOR") != 0 || kstrcasecmp(argv[3], "FROM") != 0) {
		console_printf("REVOKE FOR path FROM user\n");
		return;
	}
	const struct rights_edit edit = {"trustee", argv[2], argv[4], NULL};
	if (change(&edit, 1, "There is no such trustee; RIGHTS lists them."))
		console_printf("%s is no trustee of %s any more.\n", argv[4], argv[2]);
}
CONSOLE_COMMAND(revoke, "REVOKE", "REVOKE FOR path FROM user",
		"Takes a trustee's rights for a directory back.", revoke_command);
