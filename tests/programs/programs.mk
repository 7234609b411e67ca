# SPDX-License-Identifier: BSD-2-Clause
# Programs of the distribution, static, as judges of what programs find (docs/linux-abi.md): not changed, but for how they
# are configured. nginx is built with musl from its source package, iperf3 of the package's own static library, the
# test suite of busybox and the Open POSIX Test Suite come out of their source packages. What was built is kept beside what was fetched: in
# ${XDG_CACHE_HOME:-~/.cache}/pagewire, under a name that changes with this file.
PROGRAMS       := $(B)/programs
PROGRAMS_CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/pagewire
PROGRAMS_MK    := tests/programs/programs.mk
NGINX_DIR      ?=
BUSYBOX_DIR    ?=
POSIX_DIR      ?=
SQLITE_DIR     ?=
LUA_DIR        ?=

NGINX_OPTIONS := --with-cc=musl-gcc --with-ld-opt=-static --prefix=/nginx --without-pcre \
	$(addprefix --without-http_,rewrite_module gzip_module auth_basic_module proxy_module fastcgi_module \
	uwsgi_module scgi_module grpc_module memcached_module ssi_module charset_module)

# Its headers ask for crypt.h, which Debian's musl leaves to others; what it declares, musl has in unistd.h.
$(PROGRAMS)/nginx: $(PROGRAMS_MK) tools/fetch
	@mkdir -p $(PROGRAMS)/nginx-src $(PROGRAMS)/include $(PROGRAMS_CACHE)
	@: >$(PROGRAMS)/include/crypt.h
	@kept=$(PROGRAMS_CACHE)/nginx-1.26.3-static-$$(cksum <$(PROGRAMS_MK) | tr ' ' -) && \
	if [ ! -x "$$kept" ]; then \
		set -e; \
		if [ -n "$(NGINX_DIR)" ]; then cp -R "$(NGINX_DIR)/." $(PROGRAMS)/nginx-src/; else \
			tarball=$$(tools/fetch nginx nginx_1.26.3.orig.tar.gz \
				69ee2b237744036e61d24b836668aad3040dda461fe6f570f1787eab570c75aa \
				NGINX_DIR https://nginx.org/); \
			tar -xmf "$$tarball" -C $(PROGRAMS)/nginx-src --strip-components=1; fi; \
		include=$$(cd $(PROGRAMS)/include && pwd); \
		(cd $(PROGRAMS)/nginx-src && ./configure $(NGINX_OPTIONS) --with-cc-opt="-O1 -w -I$$include" && \
			$(MAKE) -s -j2) >$(PROGRAMS)/nginx.log 2>&1 || { tail -20 $(PROGRAMS)/nginx.log >&2; exit 1; }; \
		cp $(PROGRAMS)/nginx-src/objs/nginx "$$kept.$$$$"; mv "$$kept.$$$$" "$$kept"; \
	fi; \
	cp "$$kept" $@

# libiperf.a with glibc; the library's own interface (libiperf(3)) makes the program of it.
$(PROGRAMS)/iperf3: tests/programs/iperf3.c $(PROGRAMS_MK)
	@mkdir -p $(@D)
	@gcc -static -O1 -w -o $@ $< -liperf -lssl -lcrypto -lsctp -lm 2>$@.log || { cat $@.log >&2; exit 1; }

$(PROGRAMS)/busybox-testsuite/.ready: $(PROGRAMS_MK) tools/fetch
	@rm -rf $(@D) && mkdir -p $(@D)
	@set -e; if [ -n "$(BUSYBOX_DIR)" ]; then cp -R "$(BUSYBOX_DIR)/testsuite/." $(@D)/; else \
		tarball=$$(tools/fetch busybox busybox_1.37.0.orig.tar.bz2 \
			3311dff32e746499f4df0d5df04d7eb396382d7e108bb9250e7b519b837043a4 \
			BUSYBOX_DIR https://busybox.net/); \
		tar -xmf "$$tarball" -C $(@D) --strip-components=2 --wildcards '*/testsuite'; fi
	@touch $@

# The Open POSIX Test Suite, which the Linux Test Project carries on: each test a static program, INTERFACE.TEST. Not built:
# what is compiled only (no main), `speculative` ones, scenarios that others include, and of sigaction's assertions, each of
# which is there for 26 signals, all but three. `make abi-list` finds what does not compile (musl lacks it).
$(PROGRAMS)/posix/.ready: $(PROGRAMS_MK) tests/programs/trial.c tools/fetch
	@rm -rf $(@D) $(PROGRAMS)/posix-src && mkdir -p $(@D) $(PROGRAMS)/posix-src $(PROGRAMS_CACHE)
	@kept=$(PROGRAMS_CACHE)/posixtestsuite-1.5.2-$$(cat $(PROGRAMS_MK) tests/programs/trial.c | cksum | tr ' ' -).tar && \
	if [ ! -f "$$kept" ]; then \
		set -e; \
		if [ -n "$(POSIX_DIR)" ]; then cp -R "$(POSIX_DIR)/." $(PROGRAMS)/posix-src/; else \
			tarball=$$(tools/fetch posixtestsuite posixtestsuite_1.5.2.orig.tar.gz \
				15a2185672127cba851d35ec9d538ff6148defdbb75f99c7e9c50aeba0f94757 \
				POSIX_DIR https://posixtest.sourceforge.net/); \
			tar -xmf "$$tarball" -C $(PROGRAMS)/posix-src --strip-components=1; fi; \
		out=$$(cd $(@D) && pwd); \
		musl-gcc -static -O1 -s -Wno-format-truncation -o $$out/trial tests/programs/trial.c; \
		(cd $(PROGRAMS)/posix-src && find conformance/interfaces conformance/behavior functional -name '*.c' | LC_ALL=C sort | \
			grep -Ev 'buildonly|testfrmw|templates|speculative|scenarii|/sigaction/.*-([4-9]|[1-9][0-9]+)\.c' | \
			OUT=$$out xargs -P 4 -I{} sh -c 'musl-gcc -static -O1 -w -s -D_GNU_SOURCE -Iinclude -include fcntl.h -o \
			"$$OUT/$$(echo {} | sed "s,^conformance/[a-z]*/,,;s,/,.,g;s,\.c\$$,,")" {} 2>>"$$OUT/failed.log" || :'); \
		tar -cf "$$kept.$$$$" -C $(@D) .; mv "$$kept.$$$$" "$$kept"; \
	else tar -xf "$$kept" -C $(@D); fi
	@rm -rf $(PROGRAMS)/posix-src && touch $@

# SQLite's shell, its tester of several processes at once (mptest, with its scripts), and Lua.
$(PROGRAMS)/sqlite/.ready: $(PROGRAMS_MK) tools/fetch
	@rm -rf $(@D) $(PROGRAMS)/sqlite-src && mkdir -p $(@D) $(PROGRAMS)/sqlite-src/build $(PROGRAMS_CACHE)
	@kept=$(PROGRAMS_CACHE)/sqlite-3.46.1-static-$$(cksum <$(PROGRAMS_MK) | tr ' ' -).tar && \
	if [ ! -f "$$kept" ]; then \
		set -e; \
		if [ -n "$(SQLITE_DIR)" ]; then cp -R "$(SQLITE_DIR)/." $(PROGRAMS)/sqlite-src/; else \
			tarball=$$(tools/fetch sqlite3 sqlite3_3.46.1.orig.tar.xz \
				d0cdd2ece271b29e7ce18095745d892517ee26d0f270065b3a25c2e9eb11639c \
				SQLITE_DIR https://sqlite.org/); \
			tar -xmf "$$tarball" -C $(PROGRAMS)/sqlite-src --strip-components=1; fi; \
		(cd $(PROGRAMS)/sqlite-src/build && ../configure --disable-tcl --disable-readline && $(MAKE) -s sqlite3.c shell.c && \
			musl-gcc -O1 -w -c sqlite3.c && musl-gcc -static -O1 -w -s -o sqlite3 shell.c sqlite3.o && \
			musl-gcc -static -O1 -w -s -I. -o mptester ../mptest/mptest.c sqlite3.o) >$(PROGRAMS)/sqlite.log 2>&1 || \
			{ tail -20 $(PROGRAMS)/sqlite.log >&2; exit 1; }; \
		cp $(addprefix $(PROGRAMS)/sqlite-src/,build/sqlite3 build/mptester) $(PROGRAMS)/sqlite-src/mptest/*test $(@D)/; \
		tar -cf "$$kept.$$$$" -C $(@D) .; mv "$$kept.$$$$" "$$kept"; \
	else tar -xf "$$kept" -C $(@D); fi
	@rm -rf $(PROGRAMS)/sqlite-src && touch $@

$(PROGRAMS)/lua: $(PROGRAMS_MK) tools/fetch
	@rm -rf $(PROGRAMS)/lua-src && mkdir -p $(PROGRAMS)/lua-src $(PROGRAMS_CACHE)
	@kept=$(PROGRAMS_CACHE)/lua-5.4.7-static-$$(cksum <$(PROGRAMS_MK) | tr ' ' -) && \
	if [ ! -x "$$kept" ]; then \
		set -e; \
		if [ -n "$(LUA_DIR)" ]; then cp -R "$(LUA_DIR)/." $(PROGRAMS)/lua-src/; else \
			tarball=$$(tools/fetch lua5.4 lua5.4_5.4.7.orig.tar.gz \
				9fbf5e28ef86c69858f6d3d34eccc32e911c1a28b4120ff3e84aaa70cfbf1e30 \
				LUA_DIR https://www.lua.org/); \
			tar -xmf "$$tarball" -C $(PROGRAMS)/lua-src --strip-components=1; fi; \
		$(MAKE) -s -C $(PROGRAMS)/lua-src/src CC="musl-gcc -std=gnu99" MYLDFLAGS="-static -s" posix >$(PROGRAMS)/lua.log 2>&1 || \
			{ tail -20 $(PROGRAMS)/lua.log >&2; exit 1; }; \
		cp $(PROGRAMS)/lua-src/src/lua "$$kept.$$$$"; mv "$$kept.$$$$" "$$kept"; \
	fi; \
	cp "$$kept" $@
	@rm -rf $(PROGRAMS)/lua-src

# All of them: a test that runs in a network namespace of its own cannot fetch anything.
.PHONY: programs
programs: $(PROGRAMS)/nginx $(PROGRAMS)/iperf3 $(PROGRAMS)/lua \
	$(addsuffix /.ready,$(addprefix $(PROGRAMS)/,busybox-testsuite posix sqlite))

# docs/linux-abi.md: what passes of busybox's test suite and of the Open POSIX Test Suite here, and what does on Linux (root,
# for chroot).
.PHONY: abi-list
abi-list:
	@$(MAKE) --no-print-directory -s all
	@/usr/bin/python3 tests/e2e/suite.py
	@/usr/bin/python3 tests/e2e/posixsuite.py
