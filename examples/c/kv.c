/*
 * kv: a replicated key-value store, whole.
 *
 * Every process holds all keys in memory. Changes go through libraft, which hands them to each
 * process in the same order (apply_entries) and keeps them, as long as most of the processes live.
 * A client may talk to any of them.
 *
 *     kv --node 1 --directory data-1 --listen 127.0.0.1:7001 --clients 8001
 *        --member 1=127.0.0.1:7001 --member 2=127.0.0.1:7002 --member 3=127.0.0.1:7003
 *
 * and the same as node 2 and 3; or one alone, with itself as the only member. A process without
 * --member waits until the leader of those that are there is told to `add` it.
 *
 * The protocol, on a port of 127.0.0.1: a line for each request, and behind the line of a value
 * its bytes, whatever they are. Try it with `nc 127.0.0.1 8001`.
 *
 *     put LENGTH KEY, then the bytes   ok INDEX
 *     del KEY                          ok INDEX, or none
 *     get KEY                          value LENGTH, then the bytes; or none. Linearizable.
 *     keys                             keys COUNT, then a line for each. Linearizable.
 *     dump INDEX                       dump APPLIED COUNT, then for each LENGTH KEY and the bytes:
 *                                      this process's own state, once it has applied INDEX
 *     status                           status NAME=VALUE ...
 *     members                          members COUNT, then NODE ROLE ADDRESS for each
 *     add NODE ADDRESS, promote NODE,  ok. At the leader: a new node is a learner, and votes
 *     remove NODE, transfer NODE       once it is promoted
 *
 * or, to any: error CODE OUTCOME retriable|final MESSAGE. After the outcome `unknown` the change
 * may yet happen.
 */
#define _GNU_SOURCE /* for twalk_r and tdestroy */
#include <errno.h>
#include <inttypes.h>
#include <libraft.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <search.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    KEY_BYTES_MAX = 4095,
    LINE_BYTES_MAX = KEY_BYTES_MAX + 64,
    VALUE_BYTES_MAX = (8 << 20) - 2 * KEY_BYTES_MAX, /* an entry may have 8 MiB */
    CLIENTS_MAX = 256,
    MEMBERS_MAX = 16,
    DUMP_TIMEOUT_S = 30
};

/* ---------------------------------------------------------------- the state */

struct item {
    size_t value_len;
    unsigned char *value; /* behind the key, as is a zero byte */
    char *key;
    char bytes[];
};

/* Changed by the callbacks of the state machine, read by the clients' threads; all under `lock`. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t applied_changed = PTHREAD_COND_INITIALIZER;
static void *items; /* a tree of struct item, see tsearch(3) */
static uint64_t items_count;
static uint64_t applied_index; /* of the last entry that is in the tree */
static uint64_t snapshot_bytes, installed_index;

static libraft_node *node;
static libraft_group *group;

static void *present(void *memory)
{
    if (memory)
        return memory;
    fputs("kv: out of memory\n", stderr);
    exit(1);
}

static struct item *new_item(const char *key, size_t value_len)
{
    size_t key_len = strlen(key);
    struct item *item = present(calloc(1, sizeof *item + key_len + 1 + value_len));
    item->key = memcpy(item->bytes, key, key_len);
    item->value = (unsigned char *)item->bytes + key_len + 1;
    item->value_len = value_len;
    return item;
}

static int compare(const void *one, const void *other)
{
    return strcmp(((const struct item *)one)->key, ((const struct item *)other)->key);
}

static struct item *find(void **tree, char *key)
{
    struct item wanted = {.key = key}, **found = tfind(&wanted, tree, compare);
    return found ? *found : NULL;
}

/* Says whether there was one. */
static int remove_item(void **tree, uint64_t *count, char *key)
{
    struct item *item = find(tree, key);
    if (!item)
        return 0;
    tdelete(item, tree, compare);
    free(item);
    --*count;
    return 1;
}

/* Takes the item over. */
static void insert_item(void **tree, uint64_t *count, struct item *item)
{
    remove_item(tree, count, item->key);
    present(tsearch(item, tree, compare));
    ++*count;
}

static void print_key(const void *place, VISIT visit, void *out)
{
    const struct item *item = *(struct item *const *)place;
    if (visit == postorder || visit == leaf)
        fprintf(out, "%s\n", item->key);
}

static void print_item(const void *place, VISIT visit, void *out)
{
    const struct item *item = *(struct item *const *)place;
    if (visit != postorder && visit != leaf)
        return;
    fprintf(out, "%zu %s\n", item->value_len, item->key);
    fwrite(item->value, 1, item->value_len, out);
    putc('\n', out);
}

/* ---------------------------------------------------------------- the state machine */

/* An entry is 'P' or 'D', the key, a zero byte, and for 'P' the value. */
static int32_t apply_entries(void *context, libraft_request *request, const libraft_entry *entries,
                             size_t count, libraft_results *results)
{
    (void)context;
    int32_t code = LIBRAFT_OK;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < count && code == LIBRAFT_OK; i++) {
        const unsigned char *data = entries[i].data;
        const unsigned char *zero = memchr(data, '\0', entries[i].data_len);
        int found = 1;
        if (!zero || (data[0] != 'P' && data[0] != 'D')) {
            libraft_request_set_message(request, "an entry is not kv's: who else is here?", NULL);
            code = LIBRAFT_ERR_APPLY_FAILED; /* better to stop than to differ from the others */
        } else if (data[0] == 'P') {
            size_t value_len = (size_t)(data + entries[i].data_len - zero - 1);
            struct item *item = new_item((const char *)data + 1, value_len);
            memcpy(item->value, zero + 1, value_len);
            insert_item(&items, &items_count, item);
        } else {
            found = remove_item(&items, &items_count, (char *)data + 1);
        }
        libraft_results_set(results, i, found ? "1" : "0", 1, NULL);
        applied_index = entries[i].index;
    }
    pthread_cond_broadcast(&applied_changed);
    pthread_mutex_unlock(&lock);
    return code;
}

/* A snapshot is what `dump` prints. These two let stdio write and read it, see fopencookie(3). */
static ssize_t write_snapshot(void *writer, const char *data, size_t length)
{
    int32_t code = libraft_snapshot_writer_write(writer, data, length, NULL);
    return code == LIBRAFT_OK ? (ssize_t)length : 0;
}

static ssize_t read_snapshot(void *reader, char *buffer, size_t capacity)
{
    size_t length = 0;
    int32_t code = libraft_snapshot_reader_read(reader, buffer, capacity, &length, NULL);
    return code == LIBRAFT_OK ? (ssize_t)length : -1;
}

static void print_state(FILE *out)
{
    fprintf(out, "dump %" PRIu64 " %" PRIu64 "\n", applied_index, items_count);
    twalk_r(items, print_item, out);
}

/* Nothing is applied meanwhile, and clients only read: the lock is not needed. */
static int32_t save_snapshot(void *context, libraft_request *request, void *prepared,
                             libraft_snapshot_writer *writer)
{
    (void)context, (void)request, (void)prepared;
    FILE *out = fopencookie(writer, "w", (cookie_io_functions_t){.write = write_snapshot});
    if (!out)
        return LIBRAFT_ERR_SAVE_FAILED;
    print_state(out);
    int failed = ferror(out);
    return fclose(out) != 0 || failed ? LIBRAFT_ERR_SAVE_FAILED : LIBRAFT_OK;
}

/* Reads one item, or returns NULL. */
static struct item *read_item(FILE *in)
{
    char line[LINE_BYTES_MAX], *key = NULL;
    if (!fgets(line, sizeof line, in))
        return NULL;
    uint64_t value_len = strtoull(line, &key, 10);
    size_t key_len = strcspn(key, "\n");
    if (*key != ' ' || key[key_len] != '\n' || value_len > VALUE_BYTES_MAX)
        return NULL;
    key[key_len] = '\0';
    struct item *item = new_item(key + 1, value_len);
    if (fread(item->value, 1, value_len, in) == value_len && getc(in) == '\n')
        return item;
    free(item);
    return NULL;
}

/* The state is replaced when all of the snapshot is there, and not before. */
static int32_t restore_snapshot(void *context, libraft_request *request,
                                libraft_snapshot_reader *reader)
{
    (void)context, (void)request;
    FILE *in = fopencookie(reader, "r", (cookie_io_functions_t){.read = read_snapshot});
    if (!in)
        return LIBRAFT_ERR_RESTORE_FAILED;
    void *tree = NULL;
    struct item *item = NULL;
    uint64_t index = 0, count = 0, restored = 0;
    int whole = fscanf(in, "dump %" SCNu64 " %" SCNu64, &index, &count) == 2 && getc(in) == '\n';
    while (whole && restored < count && (item = read_item(in)))
        insert_item(&tree, &restored, item);
    whole = whole && restored == count;
    if (whole) {
        pthread_mutex_lock(&lock);
        void *old = items;
        items = tree;
        tree = old;
        items_count = count;
        applied_index = index;
        pthread_cond_broadcast(&applied_changed);
        pthread_mutex_unlock(&lock);
    }
    tdestroy(tree, free);
    fclose(in);
    return whole ? LIBRAFT_OK : LIBRAFT_ERR_RESTORE_FAILED;
}

/* ---------------------------------------------------------------- the requests of clients */

struct client {
    FILE *in;
    FILE *answer;    /* in memory: a client that reads slowly holds no lock */
    char *arguments; /* of the request that is being served */
    int32_t kind;    /* from the table of requests */
};

/* Every request is served by a function that returns 0 to go on with this client, or -1. */

/* Answers with an error of the library, and frees it. */
static int refuse(struct client *client, libraft_error *error)
{
    fprintf(client->answer, "error %s %s %s %s\n", libraft_code_name(libraft_error_code(error)),
            libraft_error_outcome(error) == LIBRAFT_OUTCOME_UNKNOWN ? "unknown" : "rejected",
            libraft_error_retriable(error) ? "retriable" : "final", libraft_error_message(error));
    libraft_error_free(error);
    return 0;
}

static int refuse_request(struct client *client, const char *message)
{
    fprintf(client->answer, "error INVALID_ARGUMENT rejected final %s\n", message);
    return 0;
}

/* Proposes a change, whose value the client sends next, and waits until it is applied here. */
static int propose(struct client *client, char kind, const char *key, size_t value_len)
{
    size_t start = 1 + strlen(key) + 1;
    char *entry = present(calloc(1, start + value_len));
    entry[0] = kind;
    memcpy(entry + 1, key, start - 2);
    if (fread(entry + start, 1, value_len, client->in) != value_len) {
        free(entry);
        return -1; /* the client is gone */
    }
    libraft_error *error = NULL;
    libraft_bytes *result = NULL;
    uint64_t index = 0;
    int32_t code =
        libraft_group_propose_wait(group, entry, start + value_len, &index, NULL, &result, &error);
    free(entry);
    if (code != LIBRAFT_OK)
        return refuse(client, error);
    if (libraft_bytes_len(result) == 1 && *libraft_bytes_data(result) == '0')
        fputs("none\n", client->answer);
    else
        fprintf(client->answer, "ok %" PRIu64 "\n", index);
    libraft_bytes_free(result);
    return 0;
}

static int put(struct client *client)
{
    char *key = NULL;
    uint64_t value_len = strtoull(client->arguments, &key, 10);
    if (key == client->arguments || key[0] != ' ' || !key[1] || value_len > VALUE_BYTES_MAX) {
        refuse_request(client, "usage: put LENGTH KEY, then the bytes (8 MiB at most)");
        return -1; /* where the next request begins cannot be known */
    }
    return propose(client, 'P', key + 1, value_len);
}

static int del(struct client *client)
{
    return propose(client, 'D', client->arguments, 0);
}

static int get(struct client *client)
{
    /* From here on, this process's own state has all that was acknowledged anywhere before. */
    libraft_error *error = NULL;
    if (libraft_group_read_index_wait(group, NULL, &error) != LIBRAFT_OK)
        return refuse(client, error);
    pthread_mutex_lock(&lock);
    const struct item *item = find(&items, client->arguments);
    if (item) {
        fprintf(client->answer, "value %zu\n", item->value_len);
        fwrite(item->value, 1, item->value_len, client->answer);
        putc('\n', client->answer);
    } else {
        fputs("none\n", client->answer);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

static int keys(struct client *client)
{
    libraft_error *error = NULL;
    if (libraft_group_read_index_wait(group, NULL, &error) != LIBRAFT_OK)
        return refuse(client, error);
    pthread_mutex_lock(&lock);
    fprintf(client->answer, "keys %" PRIu64 "\n", items_count);
    twalk_r(items, print_key, client->answer);
    pthread_mutex_unlock(&lock);
    return 0;
}

static int dump(struct client *client)
{
    uint64_t index = strtoull(client->arguments, NULL, 10);
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += DUMP_TIMEOUT_S;
    pthread_mutex_lock(&lock);
    int waited = 0;
    while (applied_index < index && waited == 0)
        waited = pthread_cond_timedwait(&applied_changed, &lock, &deadline);
    if (waited == 0)
        print_state(client->answer);
    pthread_mutex_unlock(&lock);
    return waited == 0 ? 0 : refuse_request(client, "this process has not applied that index");
}

static const char *const ROLES[] = {"forming", "follower", "pre-candidate", "candidate",
                                    "leader",  "learner",  "stopped"};

static const char *role_name(int32_t role)
{
    return (size_t)role < sizeof ROLES / sizeof *ROLES ? ROLES[role] : "unknown";
}

static int status(struct client *client)
{
    libraft_group_info now;
    libraft_error *error = NULL;
    libraft_group_info_init(&now);
    if (libraft_group_status(group, &now, &error) != LIBRAFT_OK)
        return refuse(client, error);
    pthread_mutex_lock(&lock);
    fprintf(client->answer,
            "status role=%s term=%" PRIu64 " leader=%" PRIu64 " first=%" PRIu64 " last=%" PRIu64
            " commit=%" PRIu64 " applied=%" PRIu64 " keys=%" PRIu64 " snapshot=%" PRIu64
            " snapshot_bytes=%" PRIu64 " installed=%" PRIu64 "\n",
            role_name(now.role), now.term, now.leader_node_id, now.first_index, now.last_index,
            now.commit_index, applied_index, items_count, now.snapshot_index, snapshot_bytes,
            installed_index);
    pthread_mutex_unlock(&lock);
    return 0;
}

static int members(struct client *client)
{
    libraft_members *all = NULL;
    libraft_error *error = NULL;
    if (libraft_group_members(group, &all, &error) != LIBRAFT_OK)
        return refuse(client, error);
    size_t count = libraft_members_count(all);
    fprintf(client->answer, "members %zu\n", count);
    for (size_t i = 0; i < count; i++) {
        const libraft_member *member = libraft_members_at(all, i);
        const char *role = member->role == LIBRAFT_MEMBER_VOTER     ? "voter"
                           : member->role == LIBRAFT_MEMBER_LEARNER ? "learner"
                                                                    : "outgoing";
        fprintf(client->answer, "%" PRIu64 " %s %s\n", member->node_id, role, member->address);
    }
    libraft_members_free(all);
    return 0;
}

static int change(struct client *client)
{
    char *rest = NULL;
    libraft_change step = {0};
    step.kind = client->kind;
    step.node_id = strtoull(client->arguments, &rest, 10);
    step.address = *rest == ' ' ? rest + 1 : NULL;
    libraft_error *error = NULL;
    if (libraft_group_change_membership_wait(group, &step, 1, &error) != LIBRAFT_OK)
        return refuse(client, error);
    fputs("ok\n", client->answer);
    return 0;
}

static int transfer(struct client *client)
{
    uint64_t to = strtoull(client->arguments, NULL, 10);
    libraft_error *error = NULL;
    if (libraft_group_transfer_leadership_wait(group, to, &error) != LIBRAFT_OK)
        return refuse(client, error);
    fputs("ok\n", client->answer);
    return 0;
}

static const struct {
    const char *name;
    int (*serve)(struct client *client);
    int arguments; /* whether it takes any */
    int32_t kind;
} REQUESTS[] = {
    {"get", get, 1, 0},
    {"put", put, 1, 0},
    {"del", del, 1, 0},
    {"keys", keys, 0, 0},
    {"dump", dump, 1, 0},
    {"status", status, 0, 0},
    {"members", members, 0, 0},
    {"add", change, 1, LIBRAFT_CHANGE_ADD_LEARNER},
    {"promote", change, 1, LIBRAFT_CHANGE_PROMOTE},
    {"remove", change, 1, LIBRAFT_CHANGE_REMOVE},
    {"transfer", transfer, 1, 0},
};

static int serve_line(struct client *client, char *line)
{
    size_t length = strcspn(line, "\r\n");
    if (line[length] == '\0')
        return -1; /* longer than any request, or cut off */
    line[length] = '\0';
    if (length == 0)
        return 0; /* such as the line break that a person types behind a value */
    char *space = strchr(line, ' ');
    client->arguments = space ? space + 1 : line + length;
    if (space)
        *space = '\0';
    for (size_t i = 0; i < sizeof REQUESTS / sizeof *REQUESTS; i++)
        if (strcmp(line, REQUESTS[i].name) == 0 && !*client->arguments == !REQUESTS[i].arguments) {
            client->kind = REQUESTS[i].kind;
            return REQUESTS[i].serve(client);
        }
    return refuse_request(client, "there are get, put, del, keys, dump, status, members, add, "
                                  "promote, remove and transfer");
}

/* ---------------------------------------------------------------- threads and connections */

static sem_t free_places; /* for clients */

static void *serve_client(void *context)
{
    int socket = (int)(intptr_t)context, on = 1, result = 0;
    struct client client = {.in = fdopen(socket, "r")};
    char line[LINE_BYTES_MAX];
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (result == 0 && fgets(line, sizeof line, present(client.in))) {
        char *answer = NULL;
        size_t length = 0, sent = 0;
        client.answer = present(open_memstream(&answer, &length));
        result = serve_line(&client, line);
        fclose(client.answer);
        while (sent < length) {
            ssize_t written = send(socket, answer + sent, length - sent, MSG_NOSIGNAL);
            if (written < 0 && errno != EINTR) {
                result = -1; /* the client is gone */
                break;
            }
            sent += written > 0 ? (size_t)written : 0;
        }
        free(answer);
    }
    fclose(client.in);
    sem_post(&free_places);
    return NULL;
}

static void *accept_clients(void *context)
{
    int listener = (int)(intptr_t)context;
    pthread_t thread;
    for (;;) {
        while (sem_wait(&free_places) != 0) /* more clients wait in the kernel's queue */
            continue;
        int socket = accept(listener, NULL, NULL);
        if (socket >= 0 &&
            pthread_create(&thread, NULL, serve_client, (void *)(intptr_t)socket) == 0) {
            pthread_detach(thread);
            continue;
        }
        sem_post(&free_places);
        if (socket >= 0)
            close(socket);
        else if (errno != EINTR && errno != ECONNABORTED) {
            perror("kv: cannot accept clients any more");
            exit(1);
        }
    }
}

static int listen_for_clients(uint16_t port)
{
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in here = {.sin_family = AF_INET,
                               .sin_port = htons(port),
                               .sin_addr = {htonl(INADDR_LOOPBACK)}};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) != 0 || listen(listener, 64) != 0) {
        fprintf(stderr, "kv: cannot listen on port %d: %s\n", port, strerror(errno));
        exit(1);
    }
    return listener;
}

/* What the library tells of itself: on one thread, in order. */
static void on_event(void *context, const libraft_event *event)
{
    (void)context;
    pthread_mutex_lock(&lock);
    if (event->kind == LIBRAFT_EVENT_SNAPSHOT_TAKEN)
        snapshot_bytes = event->bytes;
    if (event->kind == LIBRAFT_EVENT_SNAPSHOT_INSTALLED)
        installed_index = event->index;
    pthread_mutex_unlock(&lock);
    if (event->kind == LIBRAFT_EVENT_ROLE)
        printf("kv: %s in term %" PRIu64 "\n", role_name(event->role), event->term);
    if (event->kind == LIBRAFT_EVENT_SNAPSHOT_INSTALLED)
        printf("kv: installed a snapshot of index %" PRIu64 "\n", event->index);
    if (event->kind == LIBRAFT_EVENT_FAILED)
        printf("kv: the group is out of service on this node\n");
}

static void on_log(void *context, const libraft_log_record *record)
{
    (void)context;
    fprintf(stderr, "kv: %s: %s\n", record->target, record->message);
}

/* ---------------------------------------------------------------- the program */

/* `error` is behind a pointer, because it gets its value in the same list of arguments. */
static void check(const char *what, int32_t code, libraft_error *const *error)
{
    if (code == LIBRAFT_OK)
        return;
    fprintf(stderr, "kv: cannot %s: %s (%s)\n", what, libraft_error_message(*error),
            libraft_code_name(code));
    exit(1);
}

static void read_options(int argc, char **argv, libraft_node_options *options,
                         libraft_group_options *group_options, libraft_initial_member *initial,
                         uint64_t *port)
{
    const struct {
        const char *name;
        uint64_t *number;
        const char **text;
    } known[] = {
        {"--node", &options->node_id, NULL},
        {"--directory", NULL, &options->directory},
        {"--listen", NULL, &options->listen_address},
        {"--clients", port, NULL},
        {"--cluster", NULL, &options->cluster},
        {"--snapshot-entries", &group_options->snapshot_entries, NULL},
        {"--retained-entries", &group_options->retained_entries, NULL},
    };
    const size_t known_count = sizeof known / sizeof *known;
    for (int i = 1; i + 1 < argc; i += 2) {
        size_t at = 0;
        char *end = NULL;
        uint64_t number = strtoull(argv[i + 1], &end, 10);
        while (at < known_count && strcmp(argv[i], known[at].name) != 0)
            at++;
        if (at < known_count && known[at].text)
            *known[at].text = argv[i + 1];
        else if (at < known_count && *end == '\0')
            *known[at].number = number;
        else if (strcmp(argv[i], "--member") == 0 && *end == '=' &&
                 group_options->initial_members_count < MEMBERS_MAX)
            initial[group_options->initial_members_count++] =
                (libraft_initial_member){.node_id = number, .address = end + 1};
        else
            argc = 0; /* says how it is used */
    }
    if (argc % 2 == 1 && options->directory && *port > 0 && *port <= UINT16_MAX)
        return;
    fputs("usage: kv --node N --directory DIR --listen HOST:PORT --clients PORT\n"
          "          [--member N=HOST:PORT ...] [--cluster NAME]\n"
          "          [--snapshot-entries N] [--retained-entries N]\n",
          stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    libraft_node_options options;
    libraft_group_options group_options;
    libraft_state_machine machine;
    libraft_initial_member initial[MEMBERS_MAX] = {0};
    libraft_error *error = NULL;
    uint64_t port = 0;

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("kv with libraft %s\n", libraft_version());
        return 0;
    }
    libraft_node_options_init(&options);
    options.cluster = "kv";
    libraft_group_options_init(&group_options);
    group_options.group_id = 1;
    group_options.initial_members = initial;
    libraft_state_machine_init(&machine);
    machine.apply = apply_entries;
    machine.save_snapshot = save_snapshot;
    machine.restore_snapshot = restore_snapshot;
    read_options(argc, argv, &options, &group_options, initial, &port);

    /* Before there is any thread: the signals that end the program are waited for below. */
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ending, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    check("listen to the library",
          libraft_set_log_callback(LIBRAFT_LOG_INFO, on_log, NULL, NULL, &error), &error);
    check("open the node", libraft_node_open(&options, &node, &error), &error);
    check("start the group", libraft_group_start(node, &group_options, &machine, &group, &error),
          &error);
    check("listen to events", libraft_group_set_event_callback(group, on_event, NULL, NULL, &error),
          &error);

    int listener = listen_for_clients((uint16_t)port);
    pthread_t thread;
    sem_init(&free_places, 0, CLIENTS_MAX);
    if (pthread_create(&thread, NULL, accept_clients, (void *)(intptr_t)listener) != 0)
        check("start a thread", LIBRAFT_ERR_INTERNAL, &error);
    printf("kv: node %" PRIu64 " serves clients on port %" PRIu64 "\n", options.node_id, port);

    int signal_number;
    sigwait(&ending, &signal_number);
    check("close the node", libraft_node_close(node, &error), &error);
    puts("kv: closed");
    return 0;
}
