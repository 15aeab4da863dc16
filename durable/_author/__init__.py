"""What authors of workflows write with: steps, workflows, signals and the Context that their code speaks through."""
