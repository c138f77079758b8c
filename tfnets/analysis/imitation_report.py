def write_report(folder, outcome, plan, head):
    return str(outcome)
