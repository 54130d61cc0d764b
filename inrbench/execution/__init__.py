"""How planned cells are run: in this process (`here`), or each in a process of its own (`local`, `slurm`).

A supervisor imports no framework. For each framework it starts a keeper, a process that has imported it; a keeper forks
for each cell. Whatever happens to a cell's process, the cell ends in a record.
"""
