// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: server/users.c server/http_uri.c server/http_text.c kernel/string.c
// The users file: what it may say, which line is refused, and who may do what where.
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/kstring.h"
#include "server/users.h"
#include "shim.h"

#define HASH "$argon2id$v=19$m=8192,t=3,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"

static int setup(void **state)
{
	shim_init(256);
	return 0;
}

static int teardown(void **state)
{
	shim_finish();
	return 0;
}

static struct users *parse(const char *text)
{
	struct users_error error;
	struct users *users = users_parse(text, strlen(text), &error);

	if (!users)
		fail_msg("line %u: %s", error.line, error.reason);
	return users;
}

static void refused(const char *text, unsigned line)
{
	struct users_error error;

	assert_null(users_parse(text, strlen(text), &error));
	if (error.line != line)
		fail_msg("%s: line %u (%s), not %u", text, error.line, error.reason, line);
	assert_non_null(error.reason);
}

static void may(const struct users *users, int who, const char *path, const char *rights)
{
	char text[RIGHTS_TEXT];

	rights_format(users_rights(users, who, path, strlen(path)), text);
	if (strcmp(text, rights) != 0)
		fail_msg("%d at /%s: %s, not %s", who, path, text, rights);
}

static void without_a_file_everybody_reads_and_lists(void **state)
{
	may(NULL, USER_ANYBODY, "", "RL");
	may(NULL, USER_ANYBODY, "a/b", "RL");
}

static void an_empty_file_gives_nobody_anything(void **state)
{
	struct users *users = parse("# nothing\n\n  \t\r\n");

	may(users, USER_ANYBODY, "", "-");
	users_free(users);
}

static void trustees_of_each_kind_add_up(void **state)
{
	struct users *users = parse("trustee / * L\ntrustee /a%20b/c + RW\n"
				    "user anna " HASH "\nuser bert " HASH " off\n"
				    "trustee /a%20b anna ALL\ntrustee /a%20b/c anna -\n"
				    "trustee /a%20b/c/d/ * -\n");
	int anna = users_find(users, "anna", 4), bert = users_find(users, "bert", 4);

	assert_int_equal(anna, 0);
	assert_int_equal(bert, 1);
	assert_int_equal(users_find(users, "ann", 3), USER_UNKNOWN);
	may(users, USER_ANYBODY, "", "L");
	may(users, USER_ANYBODY, "a b/c", "L");
	may(users, USER_ANYBODY, "a b/c/d", "-");
	may(users, USER_ANYBODY, "a b/c/dd", "L");
	may(users, anna, "a", "L");
	may(users, anna, "a bc", "L");
	may(users, anna, "a b", "RLWCE");
	may(users, anna, "a b/x/y", "RLWCE");
	may(users, anna, "a b/c", "RLW");
	may(users, anna, "a b/c/d/e", "RW");
	may(users, bert, "a b", "L");
	may(users, bert, "a b/c/d", "RW");
	users_free(users);
}

static void a_wrong_line_is_refused_by_number(void **state)
{
	refused("user\n", 1);
	refused("user anna\n", 1);
	refused("\n\nuser anna plain\n", 3);
	refused("user a:b " HASH "\n", 1);
	refused("user anna " HASH "\nuser anna " HASH "\n", 2);
	refused("user anna " HASH " on\n", 1);
	refused("user anna " HASH " digest-md5=00\n", 1);
	refused("user anna " HASH " digest-md5=0123456789ABCDEF0123456789abcdef\n", 1);
	refused("user anna " HASH " digest-md5=0123456789abcdef0123456789abcdef\n", 1);
	refused("trustee / anna R\n", 1);
	refused("user anna " HASH "\ntrustee a anna R\n", 2);
	refused("trustee / * X\n", 1);
	refused("trustee / *\n", 1);
	refused("trustee / * R R\n", 1);
	refused("trustee /.pagewire * R\n", 1);
	refused("trustee /%2e./%2epagewire/x * R\n", 1);
	refused("trustee /a%2fb * R\n", 1);
	refused("trustee /a * R\ntrustee /a/ * L\n", 2);
	refused("usr anna " HASH "\n", 1);
	refused("trustee / * R a b c d e f g\n", 1);
	struct users_error error;
	assert_null(users_parse("# \0\n", 4, &error));
	assert_int_equal(error.line, 1);
}

static void secrets_for_digest_are_read(void **state)
{
	struct users *users =
	    parse("user anna " HASH " digest-md5=0123456789abcdef0123456789abcdef"
		  " digest-sha256="
		  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n");
	assert_true(users->any_md5 && users->any_sha256);
	assert_memory_equal(users->users[0].md5, "0123", 4);
	users_free(users);
}

static void random_files_are_read_or_refused(void **state)
{
	static const char *const words[] = {"user ",	"trustee ", "anna ", "* ", "+ ", "/",
					    "/a/../b ", "%2",	    "RL",    "-",  "\n", "\n",
					    " ",	HASH,	    " off",  "#",  "\t", "."};
	char text[400];

	for (unsigned n = 0; n < 20000; n++) {
		struct users_error error;
		size_t len = 0;
		for (unsigned i = (unsigned)shim_random_below(14); i-- > 0;) {
			const char *word = words[shim_random_below(ARRAY_SIZE(words))];
			if (len + strlen(word) < sizeof(text))
				len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", word);
		}
		struct users *users = users_parse(text, len, &error);
		if (users)
			users_free(users);
		else
			assert_true(error.line > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(without_a_file_everybody_reads_and_lists, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(an_empty_file_gives_nobody_anything, setup, teardown),
	    cmocka_unit_test_setup_teardown(trustees_of_each_kind_add_up, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_wrong_line_is_refused_by_number, setup, teardown),
	    cmocka_unit_test_setup_teardown(secrets_for_digest_are_read, setup, teardown),
	    cmocka_unit_test_setup_teardown(random_files_are_read_or_refused, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
