# make help prints what there is.  The work is done by the scripts in build/.

ifeq ($(origin CC),default)
CC = gcc
endif

OUT ?= build-out
export OUT CC
# passed on as they are, when they are given
export CFLAGS LDFLAGS NGINX_SRC NGINX_FLAGS PREFIX TSFACE_CACHE JOBS V MIN
export FUZZ_TIME

TESTS ?= t
DEPS = sh build/deps.sh

.DEFAULT_GOAL := all
.PHONY: all install clean distclean deps test prove test-unit test-long \
	test-asan test-valgrind fuzz coverage matrix lint demo run bench help
.NOTPARALLEL:

all:		## build the module for the installed nginx, and tsface-audit
	@bash build/build.sh

install: all	## install both (DESTDIR, PREFIX of tsface-audit)
	@bash build/install.sh

clean:		## remove everything that was built here
	rm -rf $(OUT)

distclean: clean	## clean, and remove the cache of nginx builds and chroots
	@sh build/cache.sh remove

deps:		## install the Debian packages to build and to test (as root)
	@$(DEPS) build test

test:		## install what is needed, build, run all tests
	@$(DEPS) build test
	@bash build/build.sh
	@bash build/test.sh plain $(TESTS)

prove:		## run the tests (TESTS=, JOBS=) on what is built already
	@bash build/test.sh plain $(TESTS)

test-unit: all	## run the unit tests in C only
	@bash build/test.sh plain t/unit.t

# One at a time: they measure what happens under their own load.

test-long:	## 1,000 reloads, 240 kills, 30 s of a hung disk: what can last
	@$(DEPS) build test
	@bash build/build.sh
	@TSFACE_TEST_LONG=1 JOBS=$${JOBS:-1} bash build/test.sh plain \
		$$(grep -l TSFACE_TEST_LONG t/*.t)

test-asan:	## the same tests, with AddressSanitizer and UBSan all over nginx
	@$(DEPS) asan test
	@bash build/static.sh asan
	@bash build/test.sh asan $(TESTS)

# Everything is some twenty times slower under valgrind: TESTS= picks a few.

test-valgrind:	## the tests under valgrind's memcheck
	@$(DEPS) valgrind test
	@bash build/static.sh valgrind
	@bash build/test.sh valgrind $(TESTS)

fuzz:		## fuzz what reads foreign bytes, FUZZ_TIME=600 seconds in all
	@$(DEPS) fuzz
	@bash build/build.sh --configure-only
	@bash build/fuzz.sh $(FUZZ)

coverage:	## line coverage of module and tools, fails under MIN=90 per cent
	@$(DEPS) coverage test
	@bash build/coverage.sh $(TESTS)

matrix:		## Debian 12, 13 and forky in chroots, with gcc and clang (root)
	@$(DEPS) matrix
	@TESTS="$(TESTS)" sh build/matrix.sh $(SUITES)

lint:		## style, cppcheck, clang-tidy
	@$(DEPS) lint
	@bash build/build.sh --configure-only
	@bash build/lint.sh

demo:		## sandbox, nginx, five calls, the audit trail they leave, verified
	@$(DEPS) build test
	@bash build/build.sh
	@sh build/demo.sh

run:		## the demo's gateway, until Ctrl-C, to try things on
	@$(DEPS) build test
	@bash build/build.sh
	@sh build/run.sh

bench:		## cost beside proxy_pass and lua-nginx-module; herds (PARTS=)
	@$(DEPS) build test bench
	@bash build/build.sh
	@sh bench/run.sh

help:		## this text
	@sed -n 's/^\([a-z-]*\):[^#]*## */\1 /p' Makefile \
		| awk '{ t = $$1; $$1 = ""; printf "make %-14s%s\n", t, $$0 }'
