/* The module `otel_audit._native`: see `native.py`. */

#include "native.h"

static int
add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int added = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return added;
}

static int
prepare(PyObject *module)
{
    State *state = PyModule_GetState(module);
    state->words = (PyTypeObject *)PyType_FromModuleAndSpec(module, &words_spec, NULL);
    state->copy = PyUnicode_InternFromString("copy");
    state->update = PyUnicode_InternFromString("update");
    state->hexdigest = PyUnicode_InternFromString("hexdigest");
    if (state->words == NULL || state->copy == NULL || state->update == NULL || state->hexdigest == NULL)
        return -1;
    if (PyModule_AddType(module, state->words) < 0)
        return -1;
    if (add_type(module, &encoder_spec) < 0 || add_type(module, &chain_spec) < 0)
        return -1;
    return add_type(module, &leaves_spec);
}

static int
traverse(PyObject *module, visitproc visit, void *arg)
{
    Py_VISIT(((State *)PyModule_GetState(module))->words);
    return 0;
}

static int
clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->words);
    Py_CLEAR(state->copy);
    Py_CLEAR(state->update);
    Py_CLEAR(state->hexdigest);
    return 0;
}

static void
release(void *module)
{
    clear(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, prepare},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "otel_audit._native",
    .m_doc = "The short road of a logging call.",
    .m_size = sizeof(State),
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = release,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
