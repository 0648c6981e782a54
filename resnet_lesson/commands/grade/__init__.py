"""Grading: a student's notebook is run in a process of its own, and its answers are judged there.

`command` is the command line, `notebook` reads the files, `process` starts the child and holds it to its limits,
`child` runs the cells and judges, `guard` looks whether the judge is still what it was, and `result` says what came
of it.

The limits of it. A student's code runs as the user who grades, and in the process that judges it: it has to, because a
check calls it. It is kept apart by a process, a folder, an environment and limits of its own, and by a look at what the
checks rest on before, during and after them. That stops accidents and the usual tricks. It is not a sandbox: such code
can read and write the files of this user and use the network; and, written against these very modules, it can find the
key in the memory of its own process, or hand in an object that deceives a check. To grade the code of strangers, be
another user, or a container.
"""
