// SPDX-License-Identifier: BSD-2-Clause
// build/tools/password: reads a password from its input, up to the end of the line, and prints its hash as the
// users file wants it. The kernel's own code.
#include <stdio.h>
#include <string.h>
#include "server/password.h"
#include "server/users.h"

int main(void)
{
	char password[PASSWORD_MAX + 2] = "", hash[USERS_HASH_MAX + 1];
	uint8_t salt[16];
	FILE *random = fopen("/dev/urandom", "rb");

	if (!random || fread(salt, sizeof(salt), 1, random) != 1 ||
	    !fgets(password, sizeof(password), stdin)) {
		fprintf(stderr, "password: no password, or no randomness\n");
		return 1;
	}
	fclose(random);
	password[strcspn(password, "\n")] = 0;
	if (password_hash(password, strlen(password), salt, hash, sizeof(hash)) != 0) {
		fprintf(stderr, "password: 1 to %d bytes\n", PASSWORD_MAX);
		return 1;
	}
	puts(hash);
	return 0;
}
