# Enchufe: a server whose services are plugins. `make help` lists what can be made.
#
# Sources are found by folder: a new file in core/, a new folder plugins/NAME/, a new tests/unit/test_*.c
# or tests/plugins/* needs no line here. Nothing is written outside build/ (but by install, deps and
# format). CC, CXX, CFLAGS, CXXFLAGS, CPPFLAGS and LDFLAGS are the user's: they come last and so win.

VERSION = 0.1.0

VARIANT    ?= release
PREFIX     ?= /usr/local
SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
BINDIR     ?= $(PREFIX)/bin
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
PLUGINDIR  ?= $(LIBDIR)/enchufe/plugins
UNITDIR    ?= $(PREFIX)/lib/systemd/system

CONF        ?= conf/enchufe.ini
PYTEST      ?= pytest-3
TEST_JOBS   ?= 8
PYTESTFLAGS ?=
INSTALL     ?= install

# What Debian 12 needs to build and test; g++ because the header is tested as C++17.
DEPS = gcc g++ libc6-dev make pkg-config libinih-dev libcmocka-dev python3 python3-pytest \
       python3-pytest-xdist python3-pytest-timeout ncat php-cli clang-14 libclang-rt-14-dev
DEPS_LINT = clang-format cppcheck

# What `make bench` measures the server against, where it is installed, and counts instructions with.
DEPS_BENCH = libuv1-dev libevent-dev libev-dev nginx-light libnginx-mod-stream haproxy socat xinetd \
             redis-server valgrind strace

# ---- variants ----

VARIANTS = release debug asan ubsan tsan fuzz
SANITIZE = -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all

FLAGS_release = -O2 -g -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
FLAGS_debug   = -Og -g3 -fno-omit-frame-pointer
FLAGS_asan    = $(SANITIZE) -fsanitize=address,undefined
FLAGS_ubsan   = $(SANITIZE) -fsanitize=undefined
FLAGS_tsan    = $(SANITIZE) -fsanitize=thread
# clang does not say this, by which the core knows that its system calls want to be seen.
FLAGS_fuzz    = $(SANITIZE) -fsanitize=address,undefined,fuzzer-no-link -D__SANITIZE_ADDRESS__

# libFuzzer is a part of clang, which warns of more than the house agreed on.
ifeq ($(VARIANT),fuzz)
CC  = clang-14
CXX = clang++-14
endif

ifeq ($(filter $(VARIANT),$(VARIANTS)),)
$(error VARIANT=$(VARIANT) is unknown: there are $(VARIANTS))
endif

B = build$(patsubst %,/%,$(filter-out release,$(VARIANT)))
O = $(B)/obj

# ---- flags ----

WARN     = -Wall -Wextra -Wshadow -Wconversion -Wvla $(if $(filter fuzz,$(VARIANT)),-w) $(if $(filter 1,$(WERROR)),-Werror)
WARN_C   = $(WARN) -Wstrict-prototypes -Wmissing-prototypes
OWN      = $(FLAGS_$(VARIANT)) -pthread -MMD -MP
OWN_C    = -std=c11 -D_GNU_SOURCE $(WARN_C) $(OWN)
OWN_CXX  = -std=c++17 $(WARN) -Wno-missing-field-initializers $(OWN)
HARDEN   = -Wl,-z,relro,-z,now
LINK     = $(FLAGS_$(VARIANT)) -pthread $(HARDEN)

COMPILE_C   = $(CC) $(OWN_C) $(PART_FLAGS) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<
COMPILE_CXX = $(CXX) $(OWN_CXX) $(PART_FLAGS) $(CPPFLAGS) $(CXXFLAGS) -c -o $@ $<
LINK_C      = $(CC) $(LINK) $(PART_LINK) $(CFLAGS) $(LDFLAGS) -o $@
LINK_CXX    = $(CXX) $(LINK) $(PART_LINK) $(CXXFLAGS) $(LDFLAGS) -o $@

# $(call say,CC,file) before a command: a short line, or with V=1 the command itself.
say = $(if $(filter 1,$(V)),,@printf '  %s %s\n' '$1' '$2';)

# ---- what there is ----

objects = $(patsubst %,$O/%.o,$(basename $(wildcard $1)))

CORE_OBJ   := $(call objects,core/*.c)
PLUGINS    := $(sort $(notdir $(patsubst %/,%,$(dir $(wildcard plugins/*/*.c)))))
PLUGIN_OBJ := $(call objects,plugins/*/*.c)
PLUGIN_SO  := $(PLUGINS:%=$B/plugins/%.so)
UNIT_OBJ   := $(call objects,tests/unit/test_*.c)
UNIT_TESTS := $(UNIT_OBJ:$O/%.o=$B/%)
LOAD_OBJ   := $(call objects,$(filter-out tests/load/abuse%,$(wildcard tests/load/*.c)))
ABUSE_OBJ  := $(call objects,tests/load/abuse*.c)
PRELOAD_OBJ := $(call objects,tests/preload/*.c)
PRELOAD_SO := $(PRELOAD_OBJ:$O/%.o=$B/%.so)
LOADER_OBJ := $(call objects,$(addprefix tests/bench/,load*.c common.c histogram.c processes.c))
BARE_OBJ   := $(call objects,tests/bench/bare*.c tests/bench/common.c)
PEER_OBJ   := $(call objects,tests/bench/peers/*.c)
PEERS      := $(PEER_OBJ:$O/tests/bench/peers/%.o=$B/bench/%)
FAULT_OBJ  := $(call objects,tests/fault/*.c)
FUZZ_OBJ   := $(call objects,tests/fuzz/*.c)
FUZZERS    := $(FUZZ_OBJ:$O/%.o=$B/%)
TEST_OBJ   := $(call objects,tests/plugins/*.c)
TEST_OBJXX := $(call objects,tests/plugins/*.cc)
TEST_SO    := $(TEST_OBJ:$O/%.o=$B/%.so)
TEST_SOXX  := $(TEST_OBJXX:$O/%.o=$B/%.so)
OBJECTS    := $(sort $(CORE_OBJ) $(PLUGIN_OBJ) $(UNIT_OBJ) $(LOAD_OBJ) $(ABUSE_OBJ) $(PRELOAD_OBJ) \
                $(TEST_OBJ) $(TEST_OBJXX) $(LOADER_OBJ) $(BARE_OBJ) $(PEER_OBJ) \
                $(FAULT_OBJ) $(FUZZ_OBJ))
HEADERS    := $(wildcard include/enchufe/*.h)
STYLED     := $(wildcard core/*.[ch] include/enchufe/*.h plugins/*/*.[ch] tests/*/*.[ch] tests/*/*.cc \
                tests/bench/peers/*.[ch])

# `make deps run` and `make clean all` mean one after the other, also with -j.
FIRST = $(filter deps,$(MAKECMDGOALS)) $(filter clean,$(firstword $(MAKECMDGOALS)))

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

##@ Build and run

all: $B/enchufe $(PLUGIN_SO) ## the server and its plugins (the default); VARIANT=debug, V=1, WERROR=1

run: all ## build, then run conf/enchufe.ini in the foreground (CONF=FILE for another)
	@exec $B/enchufe run --plugin-dir $B/plugins $(CONF)

$(filter-out fuzz,$(VARIANTS)): | $(FIRST)
	@$(MAKE) --no-print-directory VARIANT=$@ all

release: ## build/: optimised, with symbols
debug: ## build/debug/: for a debugger
asan: ## build/asan/: AddressSanitizer and UndefinedBehaviorSanitizer
ubsan: ## build/ubsan/: UndefinedBehaviorSanitizer alone
tsan: ## build/tsan/: ThreadSanitizer
variants: $(filter-out fuzz,$(VARIANTS)) ## all of these, side by side

clean: ## remove build/
	rm -rf build

# ---- rules ----

$O/%.o: %.c $O/flags.stamp
	@mkdir -p $(@D)
	$(call say,CC,$<)$(COMPILE_C)

$O/%.o: %.cc $O/flags.stamp
	@mkdir -p $(@D)
	$(call say,CXX,$<)$(COMPILE_CXX)

# A stamp changes only when the text in it does, so that other flags or paths mean a new build.
stamp_flags = $(CC) $(OWN_C) $(CXX) $(OWN_CXX) $(CPPFLAGS) $(CFLAGS) $(CXXFLAGS)
stamp_paths = $(VERSION) $(PLUGINDIR) $(SYSCONFDIR)
stamp_link  = $(LINK) $(LDFLAGS)
quote = '$(subst ','\'',$(strip $1))'

$O/flags.stamp $O/paths.stamp $O/link.stamp: $O/%.stamp: FORCE | $(FIRST)
	@mkdir -p $(@D)
	@printf '%s\n' $(call quote,$(stamp_$*)) | cmp -s - $@ || \
	 printf '%s\n' $(call quote,$(stamp_$*)) >$@

# The server is linked from all its objects, not from an archive: plugins use functions that it does
# not. It exports enchufe_* and nothing else.
$(CORE_OBJ): PART_FLAGS = -fPIE -Iinclude -Icore
$O/core/main.o $O/core/plugin_file.o: $O/paths.stamp
$O/core/main.o $O/core/plugin_file.o: PART_FLAGS += -DENCHUFE_VERSION='"$(VERSION)"' \
	-DENCHUFE_PLUGIN_DIR='"$(PLUGINDIR)"' -DENCHUFE_CONFIG='"$(SYSCONFDIR)/enchufe/enchufe.ini"'

$B/enchufe: PART_LINK = -pie -Wl,--dynamic-list=core/exports.list
$B/enchufe: $(CORE_OBJ) core/exports.list $O/link.stamp
	$(call say,LD,$@)$(LINK_C) $(CORE_OBJ) -linih -ldl

# plugins/NAME/plugin.mk may say NAME_CFLAGS and NAME_LIBS.
define plugin_rules
-include plugins/$1/plugin.mk
$$(filter $O/plugins/$1/%,$$(PLUGIN_OBJ)): PART_FLAGS = -fPIC -fvisibility=hidden -Iinclude $$($1_CFLAGS)
$$(filter $O/plugins/$1/%,$$(PLUGIN_OBJ)): $(wildcard plugins/$1/plugin.mk)
$B/plugins/$1.so: $$(filter $O/plugins/$1/%,$$(PLUGIN_OBJ))
$B/plugins/$1.so: PART_LIBS = $$($1_LIBS)
endef
$(foreach plugin,$(PLUGINS),$(eval $(call plugin_rules,$(plugin))))

$(TEST_OBJ) $(TEST_OBJXX): PART_FLAGS = -fPIC -fvisibility=hidden -Iinclude
$(PLUGIN_SO) $(TEST_SO) $(TEST_SOXX): PART_LINK = -shared
$(PLUGIN_SO) $(TEST_SO) $(TEST_SOXX): $O/link.stamp

$(PLUGIN_SO):
	@mkdir -p $(@D)
	$(call say,LD,$@)$(LINK_C) $(filter %.o,$^) $(PART_LIBS)

$(TEST_SO): $B/%.so: $O/%.o
	@mkdir -p $(@D)
	$(call say,LD,$@)$(LINK_C) $<

$(TEST_SOXX): $B/%.so: $O/%.o
	@mkdir -p $(@D)
	$(call say,LD,$@)$(LINK_CXX) $<

# The clients of the tests under load: those that behave, and those that do not.
$B/tests/load: $(LOAD_OBJ) $O/link.stamp
	@mkdir -p $(@D)
	$(call say,LD,$@)$(LINK_C) $(LOAD_OBJ)

$B/tests/abuse: $(ABUSE_OBJ) $O/link.stamp
	@mkdir -p $(@D)
	$(call say,LD,$@)$(LINK_C) $(ABUSE_OBJ)

# Libraries for LD_PRELOAD. Without a sanitizer, whose runtime must stand first.
$(PRELOAD_OBJ): PART_FLAGS = -fPIC -fno-sanitize=all
$(PRELOAD_SO): $B/%.so: $O/%.o
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) -shared $(HARDEN) $(LDFLAGS) -o $@ $<

# The load generator and the limit of `make bench`, and our programs on the peers' libraries.
$B/bench/load: $(LOADER_OBJ)
$B/bench/bare: $(BARE_OBJ)
$(PEERS): $B/bench/%: $O/tests/bench/peers/%.o $O/tests/bench/common.o
$(PEERS): PART_LIBS = -l$(patsubst lib%,%,$(@F))
$B/bench/load $B/bench/bare $(PEERS): $O/link.stamp
	@mkdir -p $(@D)
	$(call say,LD,$@)$(LINK_C) $(filter %.o,$^) $(PART_LIBS)

# The library of the tests of failing calls, for LD_PRELOAD. A compiler must not think it knows malloc, nor
# that no argument is NULL.
$(FAULT_OBJ): PART_FLAGS = -fPIC -fno-builtin
$B/tests/fault.so: PART_LINK = -shared
$B/tests/fault.so: $(FAULT_OBJ) $O/link.stamp
	@mkdir -p $(@D)
	$(call say,LD,$@)$(LINK_C) $(FAULT_OBJ) -ldl

# A unit test takes from the archive what it does not define itself.
$O/libcore.a: $(filter-out $O/core/main.o,$(CORE_OBJ))
	@rm -f $@
	$(call say,AR,$@)$(AR) rcs $@ $^

$(UNIT_OBJ): PART_FLAGS = -Iinclude -Icore
$(UNIT_TESTS): $B/%: $O/%.o $O/libcore.a $O/link.stamp
	@mkdir -p $(@D)
	$(call say,LD,$@)$(LINK_C) $< $O/libcore.a -linih -lcmocka -ldl

# A fuzzer is linked with the whole core, which plugins that it opens may call. What it defines itself
# stands first and so counts: a clock, a resolver, functions of other rooms.
$(FUZZ_OBJ): PART_FLAGS = -Iinclude -Icore
$(FUZZERS): PART_LINK = -fsanitize=fuzzer -Wl,-z,muldefs -Wl,--dynamic-list=core/exports.list
$(FUZZERS): $B/%: $O/%.o $O/libcore.a $O/link.stamp
	@mkdir -p $(@D)
	$(call say,LD,$@)$(LINK_C) $< -Wl,--whole-archive $O/libcore.a -Wl,--no-whole-archive -linih -ldl -lm

-include $(OBJECTS:.o=.d)

##@ Check

TEST_ENV = ENCHUFE='$(abspath $B/enchufe)' ENCHUFE_BUILD='$(abspath $B)' ENCHUFE_VARIANT=$(VARIANT) \
	PYTHONDONTWRITEBYTECODE=1
SYSTEM_BUILT = all $(TEST_SO) $(TEST_SOXX) $(PRELOAD_SO) $B/tests/fault.so $B/tests/load $B/tests/abuse \
               $B/bench/load $B/bench/bare

run_unit = failed=; for test in $(UNIT_TESTS); do $$test || failed="$$failed $$test"; done; \
	test -z "$$failed" || { echo "failed:$$failed" >&2; false; }
run_system = $(TEST_ENV) $(PYTEST) -p no:cacheprovider -n $(TEST_JOBS) $(PYTESTFLAGS) tests/system

check: check-header $(UNIT_TESTS) $(SYSTEM_BUILT) ## unit tests, system tests and the header check; VARIANT=asan for another
	@status=0; { $(run_unit); } || status=1; $(run_system) || status=1; exit $$status

check-unit: $(UNIT_TESTS) ## the unit tests only
	@$(run_unit)

check-system: $(SYSTEM_BUILT) ## the system tests only; PYTESTFLAGS='-k hola' chooses
	@$(run_system)

soak: $(SYSTEM_BUILT) ## the tests of reloads, crashes and hostile clients at full length, with figures: about an hour
	@ENCHUFE_SOAK=1 $(TEST_ENV) $(PYTEST) -p no:cacheprovider -m soak -rP $(PYTESTFLAGS) tests/system

# The peers are those whose library is there.
BENCH = PYTHONDONTWRITEBYTECODE=1 python3 tests/bench
bench-built: all $B/bench/load $B/bench/bare
	@for peer in $(notdir $(PEERS)); do \
	 if echo 'int main(void) { return 0; }' | $(CC) -x c -o /dev/null - -l$${peer#lib} 2>/dev/null; \
	 then $(MAKE) --no-print-directory $B/bench/$$peer || exit 1; \
	 else rm -f $B/bench/$$peer; echo "  $$peer is not installed, see make bench-deps"; fi; done

bench: bench-built ## how fast it is beside a bare loop and others; QUICK=1, ARGS=--help
	@$(BENCH)/run.py --build $B $(if $(filter 1,$(QUICK)),--quick) $(ARGS)

bench-callgrind: bench-built ## the instructions and system calls of one request, by function
	@$(BENCH)/path.py --build $B $(ARGS)

bench-deps: | $(FIRST) ## install what bench compares with and counts by
	@$(call install_missing,$(DEPS_BENCH))

fuzz: ## every fuzzer, one after the other, for FUZZ_SECONDS (600) each; FUZZ='conn wire' chooses
	@$(MAKE) --no-print-directory VARIANT=fuzz fuzz-run FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600)

fuzz-quick: ## the same for 4 seconds each, and nothing is kept: a part of what CI runs
	@$(MAKE) --no-print-directory VARIANT=fuzz fuzz-run FUZZ_SECONDS=$(or $(FUZZ_SECONDS),4) FUZZ_QUICK=1

# What is new is kept under build/fuzz/corpus, what crashes in build/fuzz/found; see tests/fuzz/README.md.
FUZZ ?= $(sort $(notdir $(FUZZERS)))
fuzz-run: $(PLUGIN_SO) $(TEST_SO) $(FUZZ:%=$B/tests/fuzz/%)
	@for fuzzer in $(FUZZ); do FUZZ_QUICK=$(FUZZ_QUICK) tests/fuzz/run $B $$fuzzer $(FUZZ_SECONDS) || exit 1; done

check-header: | $(FIRST) ## whether the public headers compile alone, as C11 and as C++17
	@set -e; for header in $(HEADERS); do \
	 $(CC) -std=c11 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only -x c $$header; \
	 $(CXX) -std=c++17 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only -x c++ $$header; \
	done

lint: deps-lint ## formatting (clang-format) and static analysis (cppcheck)
	clang-format --dry-run --Werror $(STYLED)
	cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 -D_GNU_SOURCE -D__x86_64__ \
	 --enable=warning,performance,portability --suppress=missingIncludeSystem \
	 --suppress='nullPointer:tests/plugins/crash.c' -Iinclude -Icore $(filter %.c,$(STYLED))

format: deps-lint ## rewrite the C files in the house style
	clang-format -i $(STYLED)

##@ Install

deps: ## install the Debian packages that building and testing need; does nothing where all are there
	@$(call install_missing,$(DEPS))

deps-lint: | $(FIRST) ## the same for the linters
	@$(call install_missing,$(DEPS_LINT))

# Uses the network only where something is missing.
define install_missing
	command -v dpkg-query >/dev/null || { \
	  echo "make $@ knows Debian's packages only; what is needed: $1" >&2; exit 1; }; \
	missing=; for package in $1; do \
	  dpkg-query -W -f '$${db:Status-Status}\n' $$package 2>/dev/null | grep -qx installed || \
	    missing="$$missing $$package"; \
	done; \
	test -n "$$missing" || exit 0; \
	echo "to be installed:$$missing"; \
	command -v apt-get >/dev/null || { echo "there is no apt-get: install them by hand" >&2; exit 1; }; \
	sudo=; if [ "$$(id -u)" != 0 ]; then sudo=sudo; \
	  command -v sudo >/dev/null || { echo "neither root nor sudo: install them as root" >&2; exit 1; }; \
	fi; \
	$$sudo apt-get update && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing
endef

install: all ## install under PREFIX (/usr/local) in DESTDIR; keeps a configuration that is there
	$(INSTALL) -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(PLUGINDIR) $(DESTDIR)$(INCLUDEDIR)/enchufe \
	 $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSCONFDIR)/enchufe
	$(INSTALL) -m 755 $B/enchufe $(DESTDIR)$(BINDIR)/enchufe
	$(INSTALL) -m 644 $(PLUGIN_SO) $(DESTDIR)$(PLUGINDIR)
	$(INSTALL) -m 644 $(HEADERS) $(DESTDIR)$(INCLUDEDIR)/enchufe
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
	 -e 's|@PLUGINDIR@|$(PLUGINDIR)|' enchufe.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/enchufe.pc
	sed -e 's|@BINDIR@|$(BINDIR)|' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|' enchufe.service.in \
	 >$(DESTDIR)$(UNITDIR)/enchufe.service
	chmod 644 $(DESTDIR)$(LIBDIR)/pkgconfig/enchufe.pc $(DESTDIR)$(UNITDIR)/enchufe.service
	test -e $(DESTDIR)$(SYSCONFDIR)/enchufe/enchufe.ini || \
	 $(INSTALL) -m 644 conf/enchufe.ini $(DESTDIR)$(SYSCONFDIR)/enchufe/enchufe.ini

uninstall: ## remove what install put there; keeps the configuration and other plugins
	rm -f $(DESTDIR)$(BINDIR)/enchufe $(DESTDIR)$(LIBDIR)/pkgconfig/enchufe.pc \
	 $(DESTDIR)$(UNITDIR)/enchufe.service \
	 $(PLUGINS:%=$(DESTDIR)$(PLUGINDIR)/%.so) $(HEADERS:include/%=$(DESTDIR)$(INCLUDEDIR)/%)
	-rmdir --ignore-fail-on-non-empty $(DESTDIR)$(INCLUDEDIR)/enchufe $(DESTDIR)$(PLUGINDIR) \
	 $(DESTDIR)$(LIBDIR)/enchufe

help: ## this list
	@awk -F ':.*## ' '/^##@/ { print "\n" substr($$0, 5) } \
	 /^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

FORCE:
.PHONY: all run bench bench-built bench-callgrind bench-deps check check-unit check-system soak fuzz fuzz-quick fuzz-run check-header lint format deps deps-lint install \
	uninstall clean variants $(VARIANTS) help FORCE
