/* What the drizzle kernel works on, and small helpers shared by its builds for several instruction sets. */

#ifndef MULTIVISIT_KERNEL_H
#define MULTIVISIT_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* Pixels of one chip row that are worked on together. */
#define BLOCK 128

/* Chip rows that are accepted or rejected together. */
#define PATCH_ROWS 32

/* Positions along a block, rounded up so that loops over them have no remainder. */
#define POSITIONS (BLOCK + 8)

/* Sides of the boxes of output pixels that the vectorised areas know; larger drops take a slow path. */
#define SMALLEST_BOX 2
#define LARGEST_BOX 8

/* Output pixels that are updated at once. */
#define LANES 4

#define LARGEST_DEGREE 15

/* A share of a drop below this is rounding noise. */
#define SMALLEST_SHARE 1e-6f

/* Largest output coordinate, so that positions fit into 32 bits. */
#define LARGEST_POSITION 1073741824.0

typedef enum { KERNEL_SQUARE, KERNEL_POINT, KERNEL_TURBO } KernelShape;

/* The arrays of multivisit.exposures.pixel_map.PixelMap. */
typedef struct {
    ptrdiff_t terms; /* degree + 1 */
    const double *coefficients; /* [axis][power of y][power of x] */
    double centre[2], half_size[2]; /* x, y */
    ptrdiff_t n_x_knots, n_y_knots; /* both 0 without a residual */
    const double *x_knots, *y_knots;
    const double *residual; /* [axis][y knot][x knot] */
} PixelMap;

typedef struct {
    ptrdiff_t rows, columns;
    const float *science, *weight;
    const float *variance; /* or NULL */
    const int32_t *quality; /* or NULL */
    float factor; /* of the science values; squared of the variances */
} Chip;

/* A window of the output grid and the sums that belong to it. */
typedef struct {
    ptrdiff_t rows, columns;
    ptrdiff_t first_row, first_column; /* of the window in the grid */
    float *sums; /* [row][column][2]: sum of weight x share x value, sum of weight x share */
    int32_t *context; /* or NULL */
    int32_t context_bit;
    float *variance; /* or NULL: sum of (weight x share)^2 x variance */
    int32_t *quality; /* or NULL: OR of all flags */
} Window;

typedef struct {
    KernelShape shape;
    double half_width; /* of the drop: in input pixels (square), in output pixels (turbo) */
} Drop;

/* Where the drops of a block lie with respect to the window. */
typedef enum { PLACE_OUTSIDE, PLACE_CROSSING, PLACE_INSIDE } Place;

/* Polynomials in x of one chip row, and the row's place among the knots. */
typedef struct {
    double coefficients[2][LARGEST_DEGREE + 1];
    ptrdiff_t knot_row;
    double knot_fraction;
} RowMap;

/* Positions x = (first column + k) + offset along a block, with what does not change from row to row. */
typedef struct {
    double argument[POSITIONS]; /* of the polynomial */
    double residual[2][POSITIONS]; /* at knot row `knot_row` */
    double residual_step[2][POSITIONS]; /* from there to the next knot row */
    double offset;
    ptrdiff_t knot_row; /* -1: not yet interpolated */
    ptrdiff_t first_column, last_position;
} Side;

/* Everything that a thread needs for one block of pixels; all arrays are indexed by the pixel in the block. */
typedef struct {
    Side sides[2], middle;
    double edges[2][2][2][POSITIONS]; /* output positions [edge row][side][axis] */
    double centres[2][POSITIONS];
    float corner[2][3][BLOCK]; /* [axis]: corners 1 to 3 of the drop relative to corner 0 */
    float line[2][BLOCK]; /* [axis]: first border between output pixels in the box, relative to corner 0 */
    int32_t box[2][BLOCK]; /* [axis]: first output pixel of the box, in the grid */
    float share[LARGEST_BOX * LARGEST_BOX][BLOCK]; /* of the drop in each output pixel of the box */
    float packed[LARGEST_BOX * LARGEST_BOX / LANES][BLOCK][LANES]; /* the same, a pixel's together */
    float science[BLOCK], weight[BLOCK], variance[BLOCK];
    int32_t quality[BLOCK];
} Workspace;

/* One call: all that stays the same while a chip is added to a window. */
typedef struct {
    const PixelMap *map;
    const Chip *chip;
    const Window *window;
    const Drop *drop;
    const unsigned char *patches; /* [patch row][block column]: whether it can reach the window */
    const RowMap *row_maps; /* two edge rows a chip row (square), or one middle row */
    const RowMap *middle_row_maps; /* of the pixel centres */
    ptrdiff_t edge_step; /* row maps from a chip row to the next: 1 (edges shared), 2 */
    Workspace *workspace;
} Job;

/* Fill in `row`, the map along chip row y. */
void row_map_at(const PixelMap *map, double y, RowMap *row);

/* Interpolate the residual at the side's positions at knot rows `knot_row` and the next. */
void interpolate_side(const PixelMap *map, Side *side, ptrdiff_t knot_row);

/* Start a side at a block: positions first_column + k + offset, constant from `last_position` on. */
void start_side(const PixelMap *map, Side *side, ptrdiff_t first_column, ptrdiff_t last_position, double offset);

/* Share of a quadrilateral (corners relative to corner 0) in the pixel whose lower borders are given. */
double share_of_pixel(const double x[4], const double y[4], double left, double bottom);

#endif
