/* A shared object that is no plugin: it loads, but defines nothing the server could look up. */
extern int load_no_vtable_answer(void);

__attribute__((visibility("default"))) int load_no_vtable_answer(void)
{
    return 42;
}
