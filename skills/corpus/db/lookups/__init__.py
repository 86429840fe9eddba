"""What sources state about papers, and the papers whose abstract is still to be found."""
